//! The write statements on PostgreSQL. Two instances may run them at once.

use super::super::{StorageError, stock};
use super::{
    LevelWrite, WriteTx, Writes, level_rows, movement_rows, order_rows, request_rows, split_levels,
};
use crate::domain::LevelKey;

pub(super) const LOAD_REQUESTS: &str = "\
SELECT request_id, fingerprint, order_id, sku, location, version
FROM request
WHERE request_id = ANY ($1)";

/// Waits for a transaction that has the same id and is not done, then inserts
/// nothing if that one committed.
const INSERT_REQUESTS: &str = "\
INSERT INTO request (request_id, fingerprint, order_id, sku, location, version)
SELECT request_id, fingerprint, nullif(order_id, '00000000-0000-0000-0000-000000000000'),
       nullif(sku, ''), nullif(location, ''), nullif(version, 0)
FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::bigint[])
     AS n (request_id, fingerprint, order_id, sku, location, version)
ON CONFLICT DO NOTHING";

const INSERT_ORDERS: &str = "\
INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
SELECT order_id, request_id, state, lines::jsonb, nullif(customer_ref, ''), nullif(labels, '')::jsonb,
       created_us, updated_us, version
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
            $7::bigint[], $8::bigint[], $9::bigint[])
     AS n (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)";

/// A row that exists already means that another transaction made this version.
const INSERT_MOVEMENTS: &str = "\
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      time_us, order_id, request_id, note)
SELECT sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us,
       nullif(order_id, '00000000-0000-0000-0000-000000000000'), nullif(request_id, ''), nullif(note, '')
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::uuid[], $11::text[], $12::text[])
     AS n (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
           time_us, order_id, request_id, note)
ON CONFLICT DO NOTHING";

/// The product is locked against a change of its threshold, which PutProducts
/// would otherwise miss to copy into a level that it cannot see yet.
const INSERT_LEVELS: &str = "\
INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
SELECT n.sku, n.location, n.on_hand, n.reserved, n.version, n.low_stock_threshold, n.updated_us
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[])
     AS n (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, expected)
JOIN product p ON p.sku = n.sku AND p.low_stock_threshold = n.low_stock_threshold
ORDER BY n.sku COLLATE \"C\", n.location COLLATE \"C\"
FOR SHARE OF p
ON CONFLICT DO NOTHING
RETURNING sku, location";

/// The guard. The inner SELECT takes the row locks in ascending order, which
/// UPDATE alone does not promise; after a wait PostgreSQL checks the version
/// again on the newest row.
const UPDATE_LEVELS: &str = "\
UPDATE stock_level AS l
SET on_hand = n.on_hand, reserved = n.reserved, version = n.version,
    low_stock_threshold = n.low_stock_threshold, updated_us = n.updated_us
FROM (
    SELECT n.*
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                $7::bigint[], $8::bigint[])
         AS n (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, expected)
    JOIN stock_level AS l ON l.sku = n.sku AND l.location = n.location AND l.version = n.expected
    ORDER BY l.sku, l.location
    FOR UPDATE OF l
) AS n
WHERE l.sku = n.sku AND l.location = n.location AND l.version = n.expected
RETURNING l.sku, l.location";

pub(super) async fn write(tx: &WriteTx, writes: &Writes) -> Result<(), StorageError> {
    if !writes.requests.is_empty() {
        let claimed = tx.execute(INSERT_REQUESTS, request_rows(writes)).await?;
        if claimed < writes.requests.len() as u64 {
            return Err(moved_on(tx, writes).await?);
        }
    }
    if !writes.orders.is_empty() {
        tx.execute(INSERT_ORDERS, order_rows(writes)).await?;
    }
    let (new, existing) = split_levels(writes);
    guard(tx, INSERT_LEVELS, &new).await?;
    let moved = tx.execute(INSERT_MOVEMENTS, movement_rows(writes)).await?;
    if moved < writes.movements.len() as u64 {
        return Err(moved_on(tx, writes).await?);
    }
    guard(tx, UPDATE_LEVELS, &existing).await
}

/// Writes `levels` and fails unless each was still at its expected version.
async fn guard(
    tx: &WriteTx,
    sql: &'static str,
    levels: &[&LevelWrite],
) -> Result<(), StorageError> {
    if levels.is_empty() {
        return Ok(());
    }
    let written = tx.query(sql, level_rows(levels)).await?;
    if written.len() == levels.len() {
        return Ok(());
    }
    let mut refused: Vec<LevelKey> = levels.iter().map(|write| write.level.key.clone()).collect();
    for row in &written {
        let (sku, location): (String, String) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        refused.retain(|key| key.sku.as_str() != sku || key.location.as_str() != location);
    }
    Err(StorageError::Conflict { levels: refused })
}

/// Which levels have moved on since the load. Asked before any level was
/// written, so every version it reads is another transaction's.
async fn moved_on(tx: &WriteTx, writes: &Writes) -> Result<StorageError, StorageError> {
    let keys: Vec<LevelKey> = writes.levels.iter().map(|w| w.level.key.clone()).collect();
    let now = stock::read_levels(&tx.tx, &keys).await?;
    let expected = writes.levels.iter().map(|write| write.expected);
    let levels = now
        .into_iter()
        .zip(expected)
        .filter(|(now, expected)| now.level.version != *expected)
        .map(|(now, _)| now.level.key)
        .collect();
    Ok(StorageError::Conflict { levels })
}
