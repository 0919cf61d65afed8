-- What ListMovements needs to find movements by time, at next to no cost to orders: not an
-- index entry for each movement but a row for each commit, which names the levels that the
-- commit moved and the versions that it made of them. A commit has one time, and what it
-- makes of a level are versions that follow each other: of a thousand orders for one
-- product it is one row of one level.
--
-- A row has at most 512 levels, so that a page of a list reads little more than it shows;
-- a commit of more levels has several. The key is the time and the last movement of the row.
CREATE TABLE movement_time (
    time_us        bigint             NOT NULL,
    sku            text COLLATE "C"   NOT NULL,
    location       text COLLATE "C"   NOT NULL,
    version        bigint             NOT NULL,
    -- The levels, ascending, and of each the version before the first and the last.
    skus           text[] COLLATE "C" NOT NULL,
    locations      text[] COLLATE "C" NOT NULL,
    after_versions bigint[]           NOT NULL,
    last_versions  bigint[]           NOT NULL,
    CONSTRAINT movement_time_pkey PRIMARY KEY (time_us, sku, location, version)
);

-- Compressing them would cost the commit more than writing them.
ALTER TABLE movement_time
    ALTER COLUMN skus SET STORAGE EXTERNAL,
    ALTER COLUMN locations SET STORAGE EXTERNAL,
    ALTER COLUMN after_versions SET STORAGE EXTERNAL,
    ALTER COLUMN last_versions SET STORAGE EXTERNAL;

-- The movements that are there already are filed by 0010_room_for_changes: a commit that is
-- under way in a server of an older version goes on as it has begun, and files none.

-- Files the movements of a commit under its time. Levels come ascending.
CREATE FUNCTION file_movements(
    time_us        bigint,
    skus           text[],
    locations      text[],
    after_versions bigint[],
    last_versions  bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    levels  integer := cardinality(skus);
    first_i integer := 1;
    last_i  integer;
BEGIN
    WHILE first_i <= levels LOOP
        last_i := least(first_i + 511, levels);
        INSERT INTO movement_time
        VALUES (time_us, skus[last_i], locations[last_i], last_versions[last_i],
                skus[first_i:last_i], locations[first_i:last_i],
                after_versions[first_i:last_i], last_versions[first_i:last_i]);
        first_i := last_i + 1;
    END LOOP;
END
$$;

-- As 0004_order_lists has it; new is that movements are filed under their time. Servers of an
-- older version, which call it while this one is rolled out, do so too.
CREATE OR REPLACE FUNCTION commit_batch(
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
END
$$;
