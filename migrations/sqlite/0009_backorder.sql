-- Backorders. The comments of migrations/postgres explain it. SQLite cannot change a
-- constraint: the tables are made anew. Nothing refers to them, and neither has an index
-- of its own.

ALTER TABLE product ADD COLUMN backorder_limit INTEGER NOT NULL DEFAULT 0
    CONSTRAINT product_backorder_limit CHECK (backorder_limit >= 0);

CREATE TABLE stock_level_anew (
    sku                 TEXT    NOT NULL,
    location            TEXT    NOT NULL,
    on_hand             INTEGER NOT NULL,
    reserved            INTEGER NOT NULL,
    version             INTEGER NOT NULL,
    low_stock_threshold INTEGER NOT NULL,
    updated_us          INTEGER NOT NULL,
    deleted             INTEGER NOT NULL DEFAULT 0,
    backorder_limit     INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT stock_level_pkey PRIMARY KEY (sku, location),
    CONSTRAINT stock_level_units CHECK (reserved >= 0 AND on_hand - reserved >= -backorder_limit),
    CONSTRAINT stock_level_backorder_limit CHECK (backorder_limit >= 0),
    CONSTRAINT stock_level_version CHECK (version >= 1),
    CONSTRAINT stock_level_deleted CHECK (NOT deleted OR (on_hand = 0 AND reserved = 0))
) STRICT, WITHOUT ROWID;

INSERT INTO stock_level_anew (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, deleted)
SELECT sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, deleted FROM stock_level;

DROP TABLE stock_level;

ALTER TABLE stock_level_anew RENAME TO stock_level;

CREATE TABLE movement_anew (
    sku                  TEXT    NOT NULL,
    location             TEXT    NOT NULL,
    version              INTEGER NOT NULL,
    kind                 INTEGER NOT NULL,
    on_hand_delta        INTEGER NOT NULL,
    reserved_delta       INTEGER NOT NULL,
    on_hand              INTEGER NOT NULL,
    reserved             INTEGER NOT NULL,
    time_us              INTEGER NOT NULL,
    order_id             BLOB,
    request_id           TEXT,
    note                 TEXT,
    counterpart_location TEXT,
    counterpart_version  INTEGER,
    CONSTRAINT movement_pkey PRIMARY KEY (sku, location, version),
    CONSTRAINT movement_units CHECK (reserved >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO movement_anew (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us,
                           order_id, request_id, note, counterpart_location, counterpart_version)
SELECT sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us,
       order_id, request_id, note, counterpart_location, counterpart_version
FROM movement;

DROP TABLE movement;

ALTER TABLE movement_anew RENAME TO movement;
