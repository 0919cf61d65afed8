//! The write statements on SQLite. `BEGIN IMMEDIATE` has shut every other writer
//! out before the load, so a guard that fails here is a bug, not a conflict; it
//! is checked all the same.

use super::super::StorageError;
use super::{
    Rows, WriteTx, Writes, level_rows, movement_rows, order_rows, request_rows, split_levels,
};

pub(super) const LOAD_REQUESTS: &str = "\
SELECT request_id, fingerprint, order_id, sku, location, version
FROM request
WHERE request_id IN (SELECT value ->> 0 FROM json_each($1))";

const INSERT_REQUESTS: &str = "\
INSERT INTO request (request_id, fingerprint, order_id, sku, location, version)
SELECT value ->> 0, unhex(value ->> 1), nullif(unhex(value ->> 2), zeroblob(16)),
       nullif(value ->> 3, ''), nullif(value ->> 4, ''), nullif(value ->> 5, 0)
FROM json_each($1)";

const INSERT_ORDERS: &str = "\
INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, nullif(value ->> 4, ''),
       nullif(value ->> 5, ''), value ->> 6, value ->> 7, value ->> 8
FROM json_each($1)";

const INSERT_MOVEMENTS: &str = "\
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      time_us, order_id, request_id, note)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
       value ->> 7, value ->> 8, nullif(unhex(value ->> 9), zeroblob(16)),
       nullif(value ->> 10, ''), nullif(value ->> 11, '')
FROM json_each($1)";

const INSERT_LEVELS: &str = "\
INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
FROM json_each($1)
WHERE true
ON CONFLICT DO NOTHING";

const UPDATE_LEVELS: &str = "\
UPDATE stock_level
SET on_hand = n.on_hand, reserved = n.reserved, version = n.version,
    low_stock_threshold = n.low_stock_threshold, updated_us = n.updated_us
FROM (
    SELECT value ->> 0 AS sku, value ->> 1 AS location, value ->> 2 AS on_hand,
           value ->> 3 AS reserved, value ->> 4 AS version, value ->> 5 AS low_stock_threshold,
           value ->> 6 AS updated_us, value ->> 7 AS expected
    FROM json_each($1)
) AS n
WHERE stock_level.sku = n.sku AND stock_level.location = n.location
  AND stock_level.version = n.expected";

pub(super) async fn write(tx: &WriteTx, writes: &Writes) -> Result<(), StorageError> {
    let (new, existing) = split_levels(writes);
    store(
        tx,
        INSERT_REQUESTS,
        request_rows(writes),
        writes.requests.len(),
        writes,
    )
    .await?;
    store(
        tx,
        INSERT_ORDERS,
        order_rows(writes),
        writes.orders.len(),
        writes,
    )
    .await?;
    store(tx, INSERT_LEVELS, level_rows(&new), new.len(), writes).await?;
    store(
        tx,
        INSERT_MOVEMENTS,
        movement_rows(writes),
        writes.movements.len(),
        writes,
    )
    .await?;
    store(
        tx,
        UPDATE_LEVELS,
        level_rows(&existing),
        existing.len(),
        writes,
    )
    .await
}

async fn store(
    tx: &WriteTx,
    sql: &'static str,
    rows: Rows,
    count: usize,
    writes: &Writes,
) -> Result<(), StorageError> {
    if count == 0 || tx.execute(sql, rows).await? == count as u64 {
        return Ok(());
    }
    let levels = writes.levels.iter().map(|write| write.level.key.clone());
    Err(StorageError::Conflict {
        levels: levels.collect(),
    })
}
