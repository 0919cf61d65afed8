-- Orders that reserve before they take. The comments of migrations/postgres explain it.

ALTER TABLE orders ADD COLUMN expires_us INTEGER
    CONSTRAINT orders_hold CHECK ((state = 2) = (expires_us IS NOT NULL));
ALTER TABLE orders ADD COLUMN cancel_reason TEXT;
ALTER TABLE orders ADD COLUMN moved TEXT;

CREATE TABLE hold (
    sku        TEXT    NOT NULL,
    location   TEXT    NOT NULL,
    expires_us INTEGER NOT NULL,
    order_id   BLOB    NOT NULL,
    units      INTEGER NOT NULL,
    is_first   INTEGER NOT NULL,
    CONSTRAINT hold_pkey PRIMARY KEY (sku, location, expires_us, order_id),
    CONSTRAINT hold_units CHECK (units > 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX hold_expires_us ON hold (expires_us) WHERE is_first;
