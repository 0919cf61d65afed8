-- Backorders: how far orders may take what is available below 0.

-- Before any is changed, and in the order in which reads and commits take them: whoever reads
-- levels would wait for the product with the level, and this step the other way round.
LOCK TABLE stock_level, product, movement IN ACCESS EXCLUSIVE MODE;

-- 0 means not at all.
ALTER TABLE product
    ADD COLUMN backorder_limit bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT product_backorder_limit CHECK (backorder_limit >= 0);

-- stock_level repeats it, as it does low_stock_threshold, so that a level and its version
-- say by themselves what orders can take. Orders that take at once bring on_hand below 0,
-- and holds bring reserved above it; what is available ends at the limit in both cases.
ALTER TABLE stock_level
    ADD COLUMN backorder_limit bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT stock_level_units,
    ADD CONSTRAINT stock_level_units CHECK (reserved >= 0 AND on_hand - reserved >= -backorder_limit),
    ADD CONSTRAINT stock_level_backorder_limit CHECK (backorder_limit >= 0);

-- A movement does not know the limit that it was made under. What there is has passed a
-- stricter constraint: it is not looked at.
ALTER TABLE movement
    DROP CONSTRAINT movement_units,
    ADD CONSTRAINT movement_units CHECK (reserved >= 0) NOT VALID;

-- As 0007_movements_by_time has it; new are the limit of levels that get their first row,
-- and events, which no longer take a function of their own. Functions of one name are told
-- apart by how many parameters they have, so no call of them is ever in doubt.
CREATE FUNCTION commit_batch(
    time_us       bigint,
    -- Requests, ascending; of orders first three columns, of adjustments the others.
    r_request_id  text[],
    r_fingerprint bytea[],
    r_order_id    uuid[],
    r_sku         text[],
    r_location    text[],
    r_version     bigint[],
    -- New orders, as they were when they were made.
    o_order_id    uuid[],
    o_request_id  text[],
    o_state       smallint[],
    o_lines       text[],
    o_customer    text[],
    o_labels      text[],
    -- Movements, ascending.
    m_sku         text[],
    m_location    text[],
    m_version     bigint[],
    m_kind        smallint[],
    m_on_hand_d   bigint[],
    m_reserved_d  bigint[],
    m_on_hand     bigint[],
    m_reserved    bigint[],
    m_order_id    uuid[],
    m_request_id  text[],
    m_note        text[],
    -- Levels that get their first row, ascending.
    n_sku         text[],
    n_location    text[],
    n_on_hand     bigint[],
    n_reserved    bigint[],
    n_version     bigint[],
    n_threshold   bigint[],
    -- NULL where all of them are 0.
    n_limit       bigint[],
    -- Levels whose row is replaced, ascending, and the version that must be there.
    l_sku         text[],
    l_location    text[],
    l_on_hand     bigint[],
    l_reserved    bigint[],
    l_version     bigint[],
    l_threshold   bigint[],
    l_expected    bigint[],
    -- NULL where events are off.
    events        bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written bigint;
    moved   record;
BEGIN
    -- The guard. Every plan of it takes the rows in ascending order: sessions of the
    -- program switch off all joins but nested loops, so either the sorted arrays lead,
    -- or the primary key does.
    IF l_sku IS NOT NULL THEN
        UPDATE stock_level AS l
        SET on_hand = n.on_hand, reserved = n.reserved, version = n.version,
            low_stock_threshold = n.threshold, updated_us = time_us
        FROM (SELECT unnest(l_sku) AS sku, unnest(l_location) AS location, unnest(l_on_hand) AS on_hand,
                     unnest(l_reserved) AS reserved, unnest(l_version) AS version,
                     unnest(l_threshold) AS threshold, unnest(l_expected) AS expected) AS n
        WHERE l.sku = n.sku AND l.location = n.location AND l.version = n.expected;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(l_sku) THEN
            PERFORM refuse_batch(l_sku, l_location);
        END IF;
    END IF;

    -- The product is locked against a change of what its levels repeat, which PutProducts
    -- would otherwise miss to copy into a level that it cannot see yet. PutProducts
    -- locks products before levels: whoever waited for it here, with levels locked,
    -- could wait in a ring. So a product that is being changed is a level too late.
    IF n_sku IS NOT NULL THEN
        INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, backorder_limit,
                                 updated_us)
        SELECT n.sku, n.location, n.on_hand, n.reserved, n.version, n.threshold, p.backorder_limit, time_us
        FROM unnest(n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold, n_limit)
             AS n (sku, location, on_hand, reserved, version, threshold, backorder_limit)
        JOIN product AS p ON p.sku = n.sku AND p.low_stock_threshold = n.threshold
                         AND p.backorder_limit = coalesce(n.backorder_limit, 0)
        -- A level that has got its row meanwhile is seen, and not run into: whoever runs
        -- into a row waits for the one who is changing it, and that one, for whom the row
        -- was there, may wait for one of the rows that are new here.
        WHERE NOT EXISTS (SELECT FROM stock_level AS l WHERE l.sku = n.sku AND l.location = n.location)
        ORDER BY n.sku COLLATE "C", n.location COLLATE "C"
        FOR SHARE OF p SKIP LOCKED
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(n_sku) THEN
            PERFORM refuse_batch(n_sku, n_location);
        END IF;
    END IF;

    IF r_request_id IS NOT NULL THEN
        INSERT INTO request (request_id, fingerprint, order_id, sku, location, version)
        SELECT unnest(r_request_id), unnest(r_fingerprint), unnest(r_order_id),
               unnest(r_sku), unnest(r_location), unnest(r_version);
    END IF;
    IF o_order_id IS NOT NULL THEN
        INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
        SELECT unnest(o_order_id), unnest(o_request_id), unnest(o_state), unnest(o_lines)::json,
               unnest(o_customer), unnest(o_labels)::jsonb, time_us, time_us, 1;
    END IF;
    -- NULL when no order of the batch has any: then labels cost nothing.
    IF o_labels IS NOT NULL THEN
        INSERT INTO order_label (key, value, order_id)
        SELECT l.key, l.value, n.order_id
        FROM unnest(o_order_id, o_labels) AS n (order_id, labels)
        CROSS JOIN LATERAL json_each_text(n.labels::json) AS l;
    END IF;
    INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                          time_us, order_id, request_id, note)
    SELECT unnest(m_sku), unnest(m_location), unnest(m_version), unnest(m_kind), unnest(m_on_hand_d),
           unnest(m_reserved_d), unnest(m_on_hand), unnest(m_reserved), commit_batch.time_us,
           unnest(m_order_id), unnest(m_request_id), unnest(m_note);
    -- The guard has the levels as they are needed, if all of them had a row; as a rule that
    -- is so, and one row is enough. Levels that were taken before (`atomic`) are not there.
    IF n_sku IS NULL AND cardinality(l_sku) <= 512 THEN
        INSERT INTO movement_time
        VALUES (commit_batch.time_us, l_sku[cardinality(l_sku)], l_location[cardinality(l_sku)],
                l_version[cardinality(l_sku)], l_sku, l_location, l_expected, l_version);
    ELSIF n_sku IS NULL AND l_sku IS NOT NULL THEN
        PERFORM file_movements(commit_batch.time_us, l_sku, l_location, l_expected, l_version);
    ELSIF m_sku IS NOT NULL THEN
        SELECT array_agg(m.sku) AS skus, array_agg(m.location) AS locations,
               array_agg(m.after_version) AS after_versions, array_agg(m.last_version) AS last_versions
        INTO moved
        FROM (
            SELECT n.sku, n.location, min(n.version) - 1 AS after_version, max(n.version) AS last_version
            FROM unnest(m_sku, m_location, m_version) AS n (sku, location, version)
            GROUP BY n.sku, n.location
            ORDER BY n.sku COLLATE "C", n.location COLLATE "C"
        ) AS m;
        PERFORM file_movements(commit_batch.time_us, moved.skus, moved.locations, moved.after_versions,
                               moved.last_versions);
    END IF;
    -- Last, as 0003_outbox has it, which says why.
    IF events IS NOT NULL THEN
        INSERT INTO outbox (created_us, body) VALUES (commit_batch.time_us, events);
    END IF;
END
$$;

-- For servers of an older version, which call it while this one is rolled out: to them
-- every limit is 0. Where that is not so, a level gets its first row from others.
CREATE OR REPLACE FUNCTION commit_batch(
    time_us bigint,
    r_request_id text[], r_fingerprint bytea[], r_order_id uuid[], r_sku text[], r_location text[], r_version bigint[],
    o_order_id uuid[], o_request_id text[], o_state smallint[], o_lines text[], o_customer text[], o_labels text[],
    m_sku text[], m_location text[], m_version bigint[], m_kind smallint[], m_on_hand_d bigint[],
    m_reserved_d bigint[], m_on_hand bigint[], m_reserved bigint[], m_order_id uuid[], m_request_id text[],
    m_note text[],
    n_sku text[], n_location text[], n_on_hand bigint[], n_reserved bigint[], n_version bigint[], n_threshold bigint[],
    l_sku text[], l_location text[], l_on_hand bigint[], l_reserved bigint[], l_version bigint[], l_threshold bigint[],
    l_expected bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM commit_batch(
        time_us, r_request_id, r_fingerprint, r_order_id, r_sku, r_location, r_version,
        o_order_id, o_request_id, o_state, o_lines, o_customer, o_labels,
        m_sku, m_location, m_version, m_kind, m_on_hand_d, m_reserved_d, m_on_hand, m_reserved, m_order_id,
        m_request_id, m_note,
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold, NULL,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected, NULL);
END
$$;

-- As 0005_holds has it, which explains it; new is the limit of levels that get their first
-- row: an order may be the first movement of its level.
CREATE FUNCTION commit_orders(
    time_us bigint,
    r_request_id text[], r_fingerprint bytea[], r_order_id uuid[], r_sku text[], r_location text[], r_version bigint[],
    o_order_id uuid[], o_request_id text[], o_state smallint[], o_lines text[], o_customer text[], o_labels text[],
    m_sku text[], m_location text[], m_version bigint[], m_kind smallint[], m_on_hand_d bigint[],
    m_reserved_d bigint[], m_on_hand bigint[], m_reserved bigint[], m_order_id uuid[], m_request_id text[],
    m_note text[],
    n_sku text[], n_location text[], n_on_hand bigint[], n_reserved bigint[], n_version bigint[], n_threshold bigint[],
    n_limit bigint[],
    l_sku text[], l_location text[], l_on_hand bigint[], l_reserved bigint[], l_version bigint[], l_threshold bigint[],
    l_expected bigint[],
    -- NULL where events are off.
    events       bytea,
    -- When the holds of the new orders are over.
    o_expires    bigint[],
    -- Holds that begin.
    h_sku        text[],
    h_location   text[],
    h_expires    bigint[],
    h_order_id   uuid[],
    h_units      bigint[],
    h_is_first   boolean[],
    -- Holds that end, ascending.
    e_sku        text[],
    e_location   text[],
    e_expires    bigint[],
    e_order_id   uuid[],
    -- Orders that change, ascending, and the version that must be there.
    u_order_id   uuid[],
    u_expected   bigint[],
    u_version    bigint[],
    u_state      smallint[],
    u_expires    bigint[],
    u_reason     text[],
    u_moved      text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written bigint;
BEGIN
    IF u_order_id IS NOT NULL THEN
        UPDATE orders AS o
        SET version = n.version, state = n.state, expires_us = n.expires, cancel_reason = n.reason,
            moved = n.moved::json, updated_us = commit_orders.time_us
        FROM (SELECT unnest(u_order_id) AS order_id, unnest(u_expected) AS expected, unnest(u_version) AS version,
                     unnest(u_state) AS state, unnest(u_expires) AS expires, unnest(u_reason) AS reason,
                     unnest(u_moved) AS moved) AS n
        WHERE o.order_id = n.order_id AND o.version = n.expected;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(u_order_id) THEN
            PERFORM refuse_orders(u_order_id);
        END IF;
    END IF;
    PERFORM commit_batch(
        time_us, r_request_id, r_fingerprint, r_order_id, r_sku, r_location, r_version,
        NULL, NULL, NULL, NULL, NULL, NULL,
        m_sku, m_location, m_version, m_kind, m_on_hand_d, m_reserved_d, m_on_hand, m_reserved, m_order_id,
        m_request_id, m_note,
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold, n_limit,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected, NULL);
    IF e_order_id IS NOT NULL THEN
        DELETE FROM hold AS h
        USING (SELECT unnest(e_sku) AS sku, unnest(e_location) AS location, unnest(e_expires) AS expires,
                      unnest(e_order_id) AS order_id) AS n
        WHERE h.sku = n.sku AND h.location = n.location AND h.expires_us = n.expires AND h.order_id = n.order_id;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written < cardinality(e_order_id) THEN
            RAISE EXCEPTION 'a pending order has no hold';
        END IF;
    END IF;
    IF o_order_id IS NOT NULL THEN
        INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version,
                            expires_us)
        SELECT unnest(o_order_id), unnest(o_request_id), unnest(o_state), unnest(o_lines)::json,
               unnest(o_customer), unnest(o_labels)::jsonb, commit_orders.time_us, commit_orders.time_us, 1,
               unnest(o_expires);
    END IF;
    IF o_labels IS NOT NULL THEN
        INSERT INTO order_label (key, value, order_id)
        SELECT l.key, l.value, n.order_id
        FROM unnest(o_order_id, o_labels) AS n (order_id, labels)
        CROSS JOIN LATERAL json_each_text(n.labels::json) AS l;
    END IF;
    IF h_order_id IS NOT NULL THEN
        INSERT INTO hold (sku, location, expires_us, order_id, units, is_first)
        SELECT unnest(h_sku), unnest(h_location), unnest(h_expires), unnest(h_order_id), unnest(h_units),
               unnest(h_is_first);
    END IF;
    IF events IS NOT NULL THEN
        INSERT INTO outbox (created_us, body) VALUES (commit_orders.time_us, events);
    END IF;
END
$$;
