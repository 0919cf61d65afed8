-- Holds are found when they are over by a row for the holds of a commit that are over at about
-- one time, instead of a row for each order and level: an order on hold costs hardly more than
-- one that takes at once, and a confirmation has nothing to take away.
--
-- Such a row is a deadline and nothing else: whether an order of it still reserves, and
-- until when, its own row says. Confirmations and cancellations leave the deadline as it is,
-- and one that lasts longer gets another. When all of it is over and none of its orders
-- reserves on account of it any more, the sweeper takes it away. Each pending order is in a
-- row whose time spans its own.
CREATE TABLE hold_deadline (
    id        bigint GENERATED ALWAYS AS IDENTITY,
    -- When the first and the last of the holds are over: less than a second apart.
    first_us  bigint   NOT NULL,
    last_us   bigint   NOT NULL,
    order_ids uuid[]   NOT NULL,
    -- 'SKU@LOCATION', whatever the orders reserve; neither has an @ in it.
    levels    text[] COLLATE "C" NOT NULL,
    CONSTRAINT hold_deadline_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Compressing them would cost the commit more than writing them.
ALTER TABLE hold_deadline
    ALTER COLUMN order_ids SET STORAGE EXTERNAL,
    ALTER COLUMN levels SET STORAGE EXTERNAL;

CREATE INDEX hold_deadline_first_us ON hold_deadline (first_us);

-- What there is, by the second. Servers that are in the middle of a hold are not passed over.
LOCK TABLE hold IN ACCESS EXCLUSIVE MODE;
INSERT INTO hold_deadline (first_us, last_us, order_ids, levels)
SELECT min(expires_us), max(expires_us), array_agg(DISTINCT order_id), array_agg(DISTINCT sku || '@' || location)
FROM (
    SELECT *, (dense_rank() OVER (PARTITION BY expires_us / 1000000 ORDER BY order_id) - 1) / 256 AS piece FROM hold
) AS pieces
GROUP BY expires_us / 1000000, piece;

DROP TABLE hold;

-- As 0009_backorder has it, which explains it; new is how holds begin, and that they end
-- with the row of their order.
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
    -- Holds that begin: of each row of hold_deadline when the first and the last of them is
    -- over, and which order and which level is its last one. Those of a row follow those of
    -- the row before it.
    d_first      bigint[],
    d_last       bigint[],
    d_orders     integer[],
    d_levels     integer[],
    d_order_id   uuid[],
    d_level      text[],
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
    FOR i IN 1..coalesce(cardinality(d_first), 0) LOOP
        INSERT INTO hold_deadline (first_us, last_us, order_ids, levels)
        VALUES (d_first[i], d_last[i], d_order_id[coalesce(d_orders[i - 1], 0) + 1:d_orders[i]],
                d_level[coalesce(d_levels[i - 1], 0) + 1:d_levels[i]]);
    END LOOP;
    IF events IS NOT NULL THEN
        INSERT INTO outbox (created_us, body) VALUES (commit_orders.time_us, events);
    END IF;
END
$$;

-- For servers of older versions, which call them while this one is rolled out.
CREATE OR REPLACE FUNCTION commit_orders(
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
    events bytea,
    o_expires bigint[],
    h_sku text[], h_location text[], h_expires bigint[], h_order_id uuid[], h_units bigint[], h_is_first boolean[],
    e_sku text[], e_location text[], e_expires bigint[], e_order_id uuid[],
    u_order_id uuid[], u_expected bigint[], u_version bigint[], u_state smallint[], u_expires bigint[],
    u_reason text[], u_moved text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM commit_orders(
        time_us, r_request_id, r_fingerprint, r_order_id, r_sku, r_location, r_version,
        o_order_id, o_request_id, o_state, o_lines, o_customer, o_labels,
        m_sku, m_location, m_version, m_kind, m_on_hand_d, m_reserved_d, m_on_hand, m_reserved, m_order_id,
        m_request_id, m_note,
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold, n_limit,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected, events, o_expires,
        NULL, NULL, NULL, NULL, NULL, NULL,
        u_order_id, u_expected, u_version, u_state, u_expires, u_reason, u_moved);
    INSERT INTO hold_deadline (first_us, last_us, order_ids, levels)
    SELECT h.expires, h.expires, ARRAY[h.order_id], array_agg(h.sku || '@' || h.location)
    FROM unnest(h_sku, h_location, h_expires, h_order_id) AS h (sku, location, expires, order_id)
    GROUP BY h.expires, h.order_id;
END
$$;

CREATE OR REPLACE FUNCTION commit_orders(
    time_us bigint,
    r_request_id text[], r_fingerprint bytea[], r_order_id uuid[], r_sku text[], r_location text[], r_version bigint[],
    o_order_id uuid[], o_request_id text[], o_state smallint[], o_lines text[], o_customer text[], o_labels text[],
    m_sku text[], m_location text[], m_version bigint[], m_kind smallint[], m_on_hand_d bigint[],
    m_reserved_d bigint[], m_on_hand bigint[], m_reserved bigint[], m_order_id uuid[], m_request_id text[],
    m_note text[],
    n_sku text[], n_location text[], n_on_hand bigint[], n_reserved bigint[], n_version bigint[], n_threshold bigint[],
    l_sku text[], l_location text[], l_on_hand bigint[], l_reserved bigint[], l_version bigint[], l_threshold bigint[],
    l_expected bigint[],
    events bytea,
    o_expires bigint[],
    h_sku text[], h_location text[], h_expires bigint[], h_order_id uuid[], h_units bigint[], h_is_first boolean[],
    e_sku text[], e_location text[], e_expires bigint[], e_order_id uuid[],
    u_order_id uuid[], u_expected bigint[], u_version bigint[], u_state smallint[], u_expires bigint[],
    u_reason text[], u_moved text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM commit_orders(
        time_us, r_request_id, r_fingerprint, r_order_id, r_sku, r_location, r_version,
        o_order_id, o_request_id, o_state, o_lines, o_customer, o_labels,
        m_sku, m_location, m_version, m_kind, m_on_hand_d, m_reserved_d, m_on_hand, m_reserved, m_order_id,
        m_request_id, m_note,
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold, NULL,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected, events, o_expires,
        h_sku, h_location, h_expires, h_order_id, h_units, h_is_first,
        e_sku, e_location, e_expires, e_order_id,
        u_order_id, u_expected, u_version, u_state, u_expires, u_reason, u_moved);
END
$$;

-- And what they read.
CREATE VIEW hold AS
SELECT l.sku, l.location, o.expires_us, o.order_id, l.quantity AS units, l.place = 1 AS is_first
FROM hold_deadline AS d
CROSS JOIN LATERAL unnest(d.order_ids) AS held (order_id)
JOIN orders AS o ON o.order_id = held.order_id
CROSS JOIN LATERAL ROWS FROM (json_to_recordset(o.lines) AS (sku text, location text, quantity bigint))
    WITH ORDINALITY AS l (sku, location, quantity, place)
WHERE o.state = 2;
