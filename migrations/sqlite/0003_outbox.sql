-- The outbox; migrations/postgres explains it. AUTOINCREMENT, so that an id is never
-- used twice: events are told apart by it. There is one writer, so ids follow commits.
CREATE TABLE outbox (
    outbox_id  INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id AUTOINCREMENT)
) STRICT;
