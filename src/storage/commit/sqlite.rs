//! The write statements on SQLite. `BEGIN IMMEDIATE` shuts every other writer out,
//! so what was loaded in this transaction cannot change; but a plan made from
//! memory has not looked for its request ids, and one of them may be stored.

use super::super::StorageError;
use super::{
    Rows, WriteTx, Writes, level_rows, movement_rows, order_rows, request_rows, split_levels,
};

pub(super) const LOAD_REQUESTS: &str = "\
SELECT request_id, fingerprint, order_id, sku, location, version
FROM request
WHERE request_id IN (VALUES {rows})";

const INSERT_ORDER_REQUESTS: &str = "\
WITH n (request_id, fingerprint, order_id) AS (VALUES {rows})
INSERT INTO request (request_id, fingerprint, order_id)
SELECT request_id, fingerprint, order_id FROM n WHERE request_id IS NOT NULL
ON CONFLICT DO NOTHING";

const INSERT_MOVEMENT_REQUESTS: &str = "\
WITH n (request_id, fingerprint, sku, location, version) AS (VALUES {rows})
INSERT INTO request (request_id, fingerprint, sku, location, version)
SELECT request_id, fingerprint, sku, location, version FROM n WHERE request_id IS NOT NULL
ON CONFLICT DO NOTHING";

const INSERT_ORDERS: &str = "\
WITH n (order_id, request_id, state, lines, customer_ref, labels, created_us) AS (VALUES {rows})
INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
SELECT order_id, request_id, state, lines, nullif(customer_ref, ''), nullif(labels, ''),
       created_us, created_us, 1
FROM n WHERE order_id IS NOT NULL";

const INSERT_MOVEMENTS: &str = "\
WITH n (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
        time_us, order_id, request_id, note)
    AS (VALUES {rows})
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      time_us, order_id, request_id, note)
SELECT sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us,
       nullif(order_id, zeroblob(16)), nullif(request_id, ''), nullif(note, '')
FROM n WHERE sku IS NOT NULL";

const INSERT_LEVELS: &str = "\
WITH n (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, expected)
    AS (VALUES {rows})
INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
SELECT sku, location, on_hand, reserved, version, low_stock_threshold, updated_us
FROM n WHERE sku IS NOT NULL
ON CONFLICT DO NOTHING";

const UPDATE_LEVELS: &str = "\
WITH n (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, expected)
    AS (VALUES {rows})
UPDATE stock_level
SET on_hand = n.on_hand, reserved = n.reserved, version = n.version,
    low_stock_threshold = n.low_stock_threshold, updated_us = n.updated_us
FROM n
WHERE stock_level.sku = n.sku AND stock_level.location = n.location
  AND stock_level.version = n.expected";

pub(super) async fn write(tx: &WriteTx, writes: &Writes) -> Result<(), StorageError> {
    let (new, existing) = split_levels(writes);
    let requests = request_rows(writes);
    let adjustments = writes.requests.len() - writes.orders.len();
    let tables = [
        (
            INSERT_ORDER_REQUESTS,
            requests.of_orders,
            writes.orders.len(),
        ),
        (INSERT_MOVEMENT_REQUESTS, requests.of_movements, adjustments),
        (INSERT_ORDERS, order_rows(writes), writes.orders.len()),
        (INSERT_LEVELS, level_rows(&new), new.len()),
        (
            INSERT_MOVEMENTS,
            movement_rows(writes),
            writes.movements.len(),
        ),
        (UPDATE_LEVELS, level_rows(&existing), existing.len()),
    ];
    for (sql, rows, count) in tables {
        store(tx, sql, rows, count, writes).await?;
    }
    Ok(())
}

async fn store(
    tx: &WriteTx,
    sql: &'static str,
    rows: Rows,
    count: usize,
    writes: &Writes,
) -> Result<(), StorageError> {
    if tx.execute(sql, rows).await? == count as u64 {
        return Ok(());
    }
    let levels = writes.levels.iter().map(|write| write.level.key.clone());
    Err(StorageError::Conflict {
        levels: levels.collect(),
    })
}
