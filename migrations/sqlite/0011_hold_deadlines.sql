-- Holds are found when they are over by their deadlines. The comments of migrations/postgres
-- explain it.

CREATE TABLE hold_deadline (
    id        INTEGER PRIMARY KEY,
    first_us  INTEGER NOT NULL,
    last_us   INTEGER NOT NULL,
    -- JSON arrays of strings: ids in hexadecimal, and SKU@LOCATION.
    order_ids TEXT    NOT NULL,
    levels    TEXT    NOT NULL
) STRICT;

CREATE INDEX hold_deadline_first_us ON hold_deadline (first_us);

INSERT INTO hold_deadline (first_us, last_us, order_ids, levels)
SELECT min(expires_us), max(expires_us), json_group_array(DISTINCT hex(order_id)),
       json_group_array(DISTINCT sku || '@' || location)
FROM (
    SELECT *, (dense_rank() OVER (PARTITION BY expires_us / 1000000 ORDER BY order_id) - 1) / 256 AS piece FROM hold
)
GROUP BY expires_us / 1000000, piece;

DROP TABLE hold;
