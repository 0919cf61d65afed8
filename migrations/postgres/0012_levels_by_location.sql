-- The levels at a location, in the order of their SKUs, for whoever watches one: in the
-- primary key they lie among those of all others, so that a page of few would pass over
-- millions. It is an entry a level, written with its first row and never again: neither
-- column changes, so updates stay HOT. Commits wait while it is made, about a second for a
-- million levels.
CREATE INDEX stock_level_location ON stock_level (location, sku);
