-- DeleteProduct. A product that is deleted leaves the rows of its levels behind, empty:
-- their versions are never used again, should the SKU be put again.

-- Levels may outlive their product.
ALTER TABLE stock_level DROP CONSTRAINT stock_level_sku;

-- True between DeleteProduct and the next PutProducts of the SKU. Both make a movement on
-- the level, so whoever remembers it from before is too late by its version, and looks
-- again. Commits of orders never write it; what they might do to such a level the
-- constraint forbids.
ALTER TABLE stock_level
    ADD COLUMN deleted boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT stock_level_deleted CHECK (NOT deleted OR (on_hand = 0 AND reserved = 0));
