-- What ListOrders needs to find the orders of a customer and those with a label.
-- Orders are found by id, and so by time, through their primary key, and by level
-- through the ledger's.

-- Orders without a customer are not in it, and pay nothing for it. The id is there as its
-- bytes, which sort as it does: only this index has that order, so the planner cannot
-- take the primary key instead and walk over everybody's orders to find a customer's.
CREATE INDEX orders_customer_ref ON orders (customer_ref COLLATE "C", uuid_send(order_id))
WHERE customer_ref IS NOT NULL;

-- One row for each label of each order: the orders with a label, newest first, are a
-- piece of its primary key, however common the label is. A GIN index on orders.labels
-- would find rare labels as fast; but all orders with a common one would have to be
-- gathered and sorted for each page, and to be read from a list of pending entries.
CREATE TABLE order_label (
    key      text COLLATE "C" NOT NULL,
    value    text COLLATE "C" NOT NULL,
    order_id uuid             NOT NULL,
    CONSTRAINT order_label_pkey PRIMARY KEY (key, value, order_id)
);

INSERT INTO order_label (key, value, order_id)
SELECT l.key, l.value, o.order_id FROM orders AS o CROSS JOIN LATERAL jsonb_each_text(o.labels) AS l;

-- As 0002_commit_batch has it, which explains it; new is what is done with labels.
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
END
$$;
