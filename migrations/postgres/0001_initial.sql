-- The first schema of Stockroom on PostgreSQL.
--
-- Times are microseconds since 1970-01-01T00:00:00Z in bigint columns that end
-- in _us; to_timestamp(created_us / 1e6) shows one to people. Names of SKUs and
-- locations sort by bytes (COLLATE "C"), as the program sorts them: every
-- transaction takes its row locks in that order, which is what keeps two
-- instances from deadlocking.

-- One row: which store this is. Versions of stock levels mean something only
-- within one store_id.
CREATE TABLE store (
    singleton  boolean NOT NULL DEFAULT true,
    store_id   uuid    NOT NULL,
    created_us bigint  NOT NULL,
    CONSTRAINT store_pkey PRIMARY KEY (singleton),
    CONSTRAINT store_singleton CHECK (singleton)
);

INSERT INTO store (store_id, created_us)
VALUES (gen_random_uuid(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

CREATE TABLE product (
    sku                 text COLLATE "C" NOT NULL,
    display_name        text             NOT NULL,
    low_stock_threshold bigint           NOT NULL,
    CONSTRAINT product_pkey PRIMARY KEY (sku),
    CONSTRAINT product_low_stock_threshold CHECK (low_stock_threshold >= 0)
);

-- The hot table. Every order updates its rows, so half of each page is left
-- free and no changing column is indexed: updates stay HOT (heap-only) and
-- leave the index alone. low_stock_threshold repeats the product's, so that a
-- level and its version say by themselves whether stock is low.
CREATE TABLE stock_level (
    sku                 text COLLATE "C" NOT NULL,
    location            text COLLATE "C" NOT NULL,
    on_hand             bigint           NOT NULL,
    reserved            bigint           NOT NULL,
    version             bigint           NOT NULL,
    low_stock_threshold bigint           NOT NULL,
    updated_us          bigint           NOT NULL,
    CONSTRAINT stock_level_pkey PRIMARY KEY (sku, location),
    CONSTRAINT stock_level_sku FOREIGN KEY (sku) REFERENCES product (sku),
    CONSTRAINT stock_level_units CHECK (on_hand >= 0 AND reserved >= 0 AND reserved <= on_hand),
    CONSTRAINT stock_level_version CHECK (version >= 1)
) WITH (fillfactor = 50);

-- The ledger: one row for each version of each level, never changed.
CREATE TABLE movement (
    sku            text COLLATE "C" NOT NULL,
    location       text COLLATE "C" NOT NULL,
    version        bigint           NOT NULL,
    kind           smallint         NOT NULL,
    on_hand_delta  bigint           NOT NULL,
    reserved_delta bigint           NOT NULL,
    on_hand        bigint           NOT NULL,
    reserved       bigint           NOT NULL,
    time_us        bigint           NOT NULL,
    order_id       uuid,
    request_id     text COLLATE "C",
    note           text,
    CONSTRAINT movement_pkey PRIMARY KEY (sku, location, version),
    CONSTRAINT movement_units CHECK (on_hand >= 0 AND reserved >= 0 AND reserved <= on_hand)
);

-- Orders. The lines lie in the row as a JSON array of {sku, location, quantity,
-- version}: an order is written and read whole, and a row of its own for each
-- line would cost the write path a heap tuple and an index entry a line. It is json, not jsonb, because nothing
-- looks inside it and parsing it costs the write path. The ledger finds the
-- orders of a level.
CREATE TABLE orders (
    order_id     uuid             NOT NULL,
    request_id   text COLLATE "C" NOT NULL,
    state        smallint         NOT NULL,
    lines        json             NOT NULL,
    customer_ref text,
    labels       jsonb,
    created_us   bigint           NOT NULL,
    updated_us   bigint           NOT NULL,
    version      bigint           NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (order_id)
);

-- Every answered write request: one namespace for orders and adjustments, kept
-- as long as what the request made. The primary key is what makes a repeat safe.
CREATE TABLE request (
    request_id  text COLLATE "C" NOT NULL,
    fingerprint bytea            NOT NULL,
    order_id    uuid,
    sku         text COLLATE "C",
    location    text COLLATE "C",
    version     bigint,
    CONSTRAINT request_pkey PRIMARY KEY (request_id),
    CONSTRAINT request_answer CHECK ((order_id IS NULL) <> (version IS NULL))
);
