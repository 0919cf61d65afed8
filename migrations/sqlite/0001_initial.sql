-- The first schema of Stockroom on SQLite. The tables, columns and names of
-- constraints are those of migrations/postgres; the comments there explain them.
-- SQLite compares text by bytes unless told otherwise. STRICT tables refuse
-- values of another type; WITHOUT ROWID keeps a row in its primary key's tree.

CREATE TABLE store (
    singleton  INTEGER NOT NULL DEFAULT 1,
    store_id   BLOB    NOT NULL,
    created_us INTEGER NOT NULL,
    CONSTRAINT store_pkey PRIMARY KEY (singleton),
    CONSTRAINT store_singleton CHECK (singleton = 1)
) STRICT;

-- A random UUID version 4: the version and the variant are set in the hex digits.
INSERT INTO store (store_id, created_us)
SELECT unhex(substr(h, 1, 12) || '4' || substr(h, 14, 3) || substr('89ab', 1 + (abs(random()) % 4), 1) || substr(h, 18)),
       CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM (SELECT hex(randomblob(16)) AS h);

CREATE TABLE product (
    sku                 TEXT    NOT NULL,
    display_name        TEXT    NOT NULL,
    low_stock_threshold INTEGER NOT NULL,
    CONSTRAINT product_pkey PRIMARY KEY (sku),
    CONSTRAINT product_low_stock_threshold CHECK (low_stock_threshold >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE stock_level (
    sku                 TEXT    NOT NULL,
    location            TEXT    NOT NULL,
    on_hand             INTEGER NOT NULL,
    reserved            INTEGER NOT NULL,
    version             INTEGER NOT NULL,
    low_stock_threshold INTEGER NOT NULL,
    updated_us          INTEGER NOT NULL,
    CONSTRAINT stock_level_pkey PRIMARY KEY (sku, location),
    CONSTRAINT stock_level_sku FOREIGN KEY (sku) REFERENCES product (sku),
    CONSTRAINT stock_level_units CHECK (on_hand >= 0 AND reserved >= 0 AND reserved <= on_hand),
    CONSTRAINT stock_level_version CHECK (version >= 1)
) STRICT, WITHOUT ROWID;

CREATE TABLE movement (
    sku            TEXT    NOT NULL,
    location       TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    kind           INTEGER NOT NULL,
    on_hand_delta  INTEGER NOT NULL,
    reserved_delta INTEGER NOT NULL,
    on_hand        INTEGER NOT NULL,
    reserved       INTEGER NOT NULL,
    time_us        INTEGER NOT NULL,
    order_id       BLOB,
    request_id     TEXT,
    note           TEXT,
    CONSTRAINT movement_pkey PRIMARY KEY (sku, location, version),
    CONSTRAINT movement_units CHECK (on_hand >= 0 AND reserved >= 0 AND reserved <= on_hand)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    order_id     BLOB    NOT NULL,
    request_id   TEXT    NOT NULL,
    state        INTEGER NOT NULL,
    lines        TEXT    NOT NULL,
    customer_ref TEXT,
    labels       TEXT,
    created_us   INTEGER NOT NULL,
    updated_us   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (order_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    request_id  TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    order_id    BLOB,
    sku         TEXT,
    location    TEXT,
    version     INTEGER,
    CONSTRAINT request_pkey PRIMARY KEY (request_id),
    CONSTRAINT request_answer CHECK ((order_id IS NULL) <> (version IS NULL))
) STRICT, WITHOUT ROWID;
