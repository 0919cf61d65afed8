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
const INSERT_ORDER_REQUESTS: &str = "\
INSERT INTO request (request_id, fingerprint, order_id)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[])
ON CONFLICT DO NOTHING";

const INSERT_MOVEMENT_REQUESTS: &str = "\
INSERT INTO request (request_id, fingerprint, sku, location, version)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bigint[])
ON CONFLICT DO NOTHING";

const INSERT_ORDERS: &str = "\
INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
SELECT order_id, request_id, state, lines::json, nullif(customer_ref, ''), nullif(labels, '')::jsonb,
       created_us, created_us, 1
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[])
     AS n (order_id, request_id, state, lines, customer_ref, labels, created_us)";

/// A row that exists already means that another transaction made this version.
/// The rows come in ascending (sku, location), so this is also where two writers
/// of one level wait for each other, and always in that order: the second finds
/// the first's movement in the index, waits for its end, and inserts nothing.
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

/// The guard. Its row locks need no order of their own: whoever gets here has
/// inserted the movement of the very version that it writes, which no other
/// transaction can have done, so nobody else is on its way to these rows.
const UPDATE_LEVELS: &str = "\
UPDATE stock_level AS l
SET on_hand = n.on_hand, reserved = n.reserved, version = n.version,
    low_stock_threshold = n.low_stock_threshold, updated_us = n.updated_us
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[])
     AS n (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, expected)
WHERE l.sku = n.sku AND l.location = n.location AND l.version = n.expected
RETURNING l.sku, l.location";

pub(super) async fn write(tx: &WriteTx, writes: &Writes) -> Result<(), StorageError> {
    let requests = request_rows(writes);
    let claimed = tx
        .execute(INSERT_ORDER_REQUESTS, requests.of_orders)
        .await?
        + tx.execute(INSERT_MOVEMENT_REQUESTS, requests.of_movements)
            .await?;
    if claimed < writes.requests.len() as u64 {
        return Err(moved_on(tx, writes).await?);
    }
    tx.execute(INSERT_ORDERS, order_rows(writes)).await?;
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
