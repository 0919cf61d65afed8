-- DeleteProduct. The comments of migrations/postgres explain it. SQLite cannot drop a
-- constraint: the table is made anew.

CREATE TABLE stock_level_anew (
    sku                 TEXT    NOT NULL,
    location            TEXT    NOT NULL,
    on_hand             INTEGER NOT NULL,
    reserved            INTEGER NOT NULL,
    version             INTEGER NOT NULL,
    low_stock_threshold INTEGER NOT NULL,
    updated_us          INTEGER NOT NULL,
    deleted             INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT stock_level_pkey PRIMARY KEY (sku, location),
    CONSTRAINT stock_level_units CHECK (on_hand >= 0 AND reserved >= 0 AND reserved <= on_hand),
    CONSTRAINT stock_level_version CHECK (version >= 1),
    CONSTRAINT stock_level_deleted CHECK (NOT deleted OR (on_hand = 0 AND reserved = 0))
) STRICT, WITHOUT ROWID;

INSERT INTO stock_level_anew (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
SELECT sku, location, on_hand, reserved, version, low_stock_threshold, updated_us FROM stock_level;

DROP TABLE stock_level;

ALTER TABLE stock_level_anew RENAME TO stock_level;
