-- The levels at a location, in the order of their SKUs. The comments of migrations/postgres
-- explain it.
CREATE INDEX stock_level_location ON stock_level (location, sku);
