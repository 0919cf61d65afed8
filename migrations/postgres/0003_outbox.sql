-- The outbox: what commits tell other systems, until Kafka has it. One row a commit, in
-- its transaction; all events of the commit lie in the body, in the form that
-- src/events/row.rs reads.
--
-- The ids are drawn from a sequence that hands out one number at a time (CACHE 1, the
-- default: with more, each session would hold numbers back and draw them out of order).
--
-- A body is rarely read twice and never searched, so compressing it is given up
-- (EXTERNAL): it would cost the commit more than writing it. Rows live for
-- milliseconds; vacuum comes early, so that the relay, which always begins at the
-- lowest id, does not walk over what is gone.
CREATE TABLE outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY,
    created_us bigint NOT NULL,
    body       bytea  NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);

ALTER TABLE outbox ALTER COLUMN body SET STORAGE EXTERNAL;

-- A batch with its events. The function without them stays as it is: servers that tell
-- nobody call it, and so do those of an older version while this one is rolled out.
--
-- The row comes last, so its id is drawn while this transaction holds the lock of every
-- level that the row speaks of. That is why ids follow versions for each level: whoever
-- changes a level after us gets its lock, or sees its row, only once we have committed,
-- and draws its id later still. Guard by guard:
--
--   optimistic   the guarding UPDATE waits at the row for whoever was first, finds another
--                version, and raises before it draws an id; planned anew, it comes later. A
--                first row (INSERT … ON CONFLICT) waits at the unique index the same way.
--   pessimistic  SELECT … FOR UPDATE has waited already.
--   atomic       its UPDATE waits at the row, and draws when it has got it.
--   redis_lock   ends in the same guarding UPDATE as optimistic, whatever Redis said.
--
-- Ids of commits that share no level may become visible in any order, so a reader begins
-- at the lowest each time and never at the last that it has seen.
CREATE FUNCTION commit_batch(
    time_us bigint,
    r_request_id text[], r_fingerprint bytea[], r_order_id uuid[], r_sku text[], r_location text[], r_version bigint[],
    o_order_id uuid[], o_request_id text[], o_state smallint[], o_lines text[], o_customer text[], o_labels text[],
    m_sku text[], m_location text[], m_version bigint[], m_kind smallint[], m_on_hand_d bigint[],
    m_reserved_d bigint[], m_on_hand bigint[], m_reserved bigint[], m_order_id uuid[], m_request_id text[],
    m_note text[],
    n_sku text[], n_location text[], n_on_hand bigint[], n_reserved bigint[], n_version bigint[], n_threshold bigint[],
    l_sku text[], l_location text[], l_on_hand bigint[], l_reserved bigint[], l_version bigint[], l_threshold bigint[],
    l_expected bigint[],
    events bytea
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM commit_batch(
        time_us, r_request_id, r_fingerprint, r_order_id, r_sku, r_location, r_version,
        o_order_id, o_request_id, o_state, o_lines, o_customer, o_labels,
        m_sku, m_location, m_version, m_kind, m_on_hand_d, m_reserved_d, m_on_hand, m_reserved, m_order_id,
        m_request_id, m_note,
        n_sku, n_location, n_on_hand, n_reserved, n_version, n_threshold,
        l_sku, l_location, l_on_hand, l_reserved, l_version, l_threshold, l_expected);
    INSERT INTO outbox (created_us, body) VALUES (time_us, events);
END
$$;
