-- Requests that make several movements. The comments of migrations/postgres explain it.

CREATE TABLE request_movement (
    request_id TEXT    NOT NULL,
    place      INTEGER NOT NULL,
    sku        TEXT    NOT NULL,
    location   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    CONSTRAINT request_movement_pkey PRIMARY KEY (request_id, place)
) STRICT, WITHOUT ROWID;

ALTER TABLE movement ADD COLUMN counterpart_location TEXT;
ALTER TABLE movement ADD COLUMN counterpart_version INTEGER;
