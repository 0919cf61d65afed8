-- A batch in one statement: one round trip, one transaction, no BEGIN and COMMIT
-- of its own. The program calls it with an array for each column; a column that
-- is empty throughout comes as NULL.
--
-- Rows are made by unnest() in the select list, where PostgreSQL steps all arrays
-- in lockstep; in FROM it would first store each of them. No ON CONFLICT where a
-- conflict is an error: speculative insertion costs each row a look-up and a WAL
-- record more. Measured: 13 µs an order became 8 (docs/performance.md).
--
-- The guards come first: whoever is too late learns it before it has written
-- anything, and every way of guarding takes the locks of levels before all others.
-- Levels come in ascending (sku, location), existing ones before new ones, as where
-- another guard has locked the existing ones already; then request ids in ascending
-- order: two callers wait for each other and never in a ring.
--
-- Raises 40001 with the levels that are not at the expected version as a JSON array
-- of [sku, location] in DETAIL, and 23505 on request_pkey when one of the requests
-- has been answered before. Either leaves nothing written.
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
    -- Levels whose row is replaced, ascending, and the version that must be there.
    l_sku         text[],
    l_location    text[],
    l_on_hand     bigint[],
    l_reserved    bigint[],
    l_version     bigint[],
    l_threshold   bigint[],
    l_expected    bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    written bigint;
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

    -- The product is locked against a change of its threshold, which PutProducts
    -- would otherwise miss to copy into a level that it cannot see yet. PutProducts
    -- locks products before levels: whoever waited for it here, with levels locked,
    -- could wait in a ring. So a product that is being changed is a level too late.
    IF n_sku IS NOT NULL THEN
        INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
        SELECT n.sku, n.location, n.on_hand, n.reserved, n.version, n.threshold, time_us
        FROM unnest(n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold)
             AS n (sku, location, on_hand, reserved, version, threshold)
        JOIN product AS p ON p.sku = n.sku AND p.low_stock_threshold = n.threshold
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
    INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                          time_us, order_id, request_id, note)
    SELECT unnest(m_sku), unnest(m_location), unnest(m_version), unnest(m_kind), unnest(m_on_hand_d),
           unnest(m_reserved_d), unnest(m_on_hand), unnest(m_reserved), commit_batch.time_us,
           unnest(m_order_id), unnest(m_request_id), unnest(m_note);
END
$$;

-- Ends a batch of which not every level could be written: names those that were not.
CREATE FUNCTION refuse_batch(skus text[], locations text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stock levels are not at the expected version' USING
        ERRCODE = 'serialization_failure',
        DETAIL = (
            SELECT coalesce(json_agg(json_build_array(n.sku, n.location)), '[]')
            FROM unnest(skus, locations) AS n (sku, location)
            -- What this transaction has written itself is not in the way.
            WHERE NOT EXISTS (
                SELECT 1 FROM stock_level AS l
                WHERE l.sku = n.sku AND l.location = n.location AND l.xmin = pg_current_xact_id()::xid)
        );
END
$$;
