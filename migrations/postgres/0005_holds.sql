-- Orders that reserve before they take.

-- While an order is pending: when its hold is over. Then: why it was cancelled, and which
-- versions its later changes made of its levels, a JSON array for each change, its numbers
-- in ascending (sku, location). The movements of an order are found by these.
ALTER TABLE orders
    ADD COLUMN expires_us    bigint,
    ADD COLUMN cancel_reason text,
    ADD COLUMN moved         json,
    -- Of the orders that there are none is pending: nothing has to be looked at.
    ADD CONSTRAINT orders_hold CHECK ((state = 2) = (expires_us IS NOT NULL)) NOT VALID;

-- What pending orders reserve: a row for each order and level, gone when the order is
-- confirmed, cancelled or expired. Orders that are short of a level find the holds on it
-- that are over in the primary key; the sweeper finds each order once, in the other index.
-- Rows come and go all the time: vacuum comes early, so that neither walks over what is gone.
CREATE TABLE hold (
    sku        text COLLATE "C" NOT NULL,
    location   text COLLATE "C" NOT NULL,
    expires_us bigint           NOT NULL,
    order_id   uuid             NOT NULL,
    units      bigint           NOT NULL,
    -- Of the first level of its order.
    is_first   boolean          NOT NULL,
    CONSTRAINT hold_pkey PRIMARY KEY (sku, location, expires_us, order_id),
    CONSTRAINT hold_units CHECK (units > 0)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX hold_expires_us ON hold (expires_us) WHERE is_first;

-- A batch in which orders begin to reserve, or change. Everything else of it goes through
-- commit_batch; batches without any of this still call that alone. Rows of orders are
-- locked before levels, everywhere, and in ascending order, so that two instances wait for
-- each other and never in a ring; and first of all, since the units of an order that has
-- ended would leave less than nothing reserved. The outbox comes last, as in 0003_outbox,
-- which says why.
CREATE FUNCTION commit_orders(
    time_us bigint,
    r_request_id text[], r_fingerprint bytea[], r_order_id uuid[], r_sku text[], r_location text[], r_version bigint[],
    o_order_id uuid[], o_request_id text[], o_state smallint[], o_lines text[], o_customer text[], o_labels text[],
    m_sku text[], m_location text[], m_version bigint[], m_kind smallint[], m_on_hand_d bigint[],
    m_reserved_d bigint[], m_on_hand bigint[], m_reserved bigint[], m_order_id uuid[], m_request_id text[],
    m_note text[],
    n_sku text[], n_location text[], n_on_hand bigint[], n_reserved bigint[], n_version bigint[], n_threshold bigint[],
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
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected);
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

-- Ends a batch of which not every order could be changed: names the levels of those that
-- could not, in the form of refuse_batch.
CREATE FUNCTION refuse_orders(order_ids uuid[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'orders are not at the expected version' USING
        ERRCODE = 'serialization_failure',
        DETAIL = (
            SELECT coalesce(json_agg(json_build_array(l.sku, l.location)), '[]')
            FROM orders AS o
            CROSS JOIN LATERAL json_to_recordset(o.lines) AS l (sku text, location text)
            WHERE o.order_id = ANY (order_ids) AND o.xmin <> pg_current_xact_id()::xid);
END
$$;
