-- Requests that make several movements: BatchAdjustStock and TransferStock.

-- The movements of a request but for the first, which its row in request names. Orders
-- and single adjustments have no row here, and pay nothing for it.
CREATE TABLE request_movement (
    request_id text COLLATE "C" NOT NULL,
    -- Of the movement among those of the request, from 1; the first one's is 0.
    place      integer          NOT NULL,
    sku        text COLLATE "C" NOT NULL,
    location   text COLLATE "C" NOT NULL,
    version    bigint           NOT NULL,
    CONSTRAINT request_movement_pkey PRIMARY KEY (request_id, place)
);

-- The other half of a transfer: the movement of the same SKU at this location that made
-- this version. NULL in all other movements, which takes no room in their rows. That the
-- halves name each other is for the books to check: a constraint here would be evaluated
-- for each line of each order.
ALTER TABLE movement
    ADD COLUMN counterpart_location text COLLATE "C",
    ADD COLUMN counterpart_version bigint;
