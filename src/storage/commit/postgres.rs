//! A batch on PostgreSQL: one call of `commit_batch`, which migrations/postgres
//! explains, and the statements of the other guards. Two instances may run them at
//! once.

use std::sync::Arc;

use sea_orm::sqlx::postgres::PgArguments;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{PgConnection, Postgres, Row as _, query};
use uuid::Uuid;

use super::super::error::StorageError;
use super::super::{orders, stock};
use super::holds::{self, Deadline};
use super::{Guard, Writes, sorted_movements, sorted_requests, split_levels};
use crate::domain::{
    LevelKey, LevelTake, LevelWrite, LoadedLevel, Order, OrderWrite, RequestId, StockLevel,
    Timestamp, Version,
};

/// Its text never changes, so it stays prepared, whatever the size of a batch. The events
/// of the batch may be NULL.
#[doc(hidden)]
pub const COMMIT_BATCH: &str = "\
SELECT commit_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                    $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37,
                    $38, $39)";

/// The same with orders that reserve, or change.
const COMMIT_ORDERS: &str = "\
SELECT commit_orders($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                     $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37,
                     $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51, $52, $53)";

/// `place` is the key's in the question. The rows come, and are locked, in the order
/// of the keys.
#[doc(hidden)]
pub const LOCK_LEVELS: &str = "\
SELECT k.place, l.on_hand, l.reserved, l.version, l.low_stock_threshold, l.updated_us, l.deleted, l.backorder_limit
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k (place, sku, location)
JOIN stock_level AS l ON l.sku = k.sku AND l.location = k.location
ORDER BY l.sku, l.location
FOR UPDATE OF l";

/// Moves levels wherever they stand. As in `commit_batch`, every plan of it goes
/// through the rows in ascending (sku, location).
#[doc(hidden)]
pub const TAKE: &str = "\
UPDATE stock_level AS l
SET on_hand = l.on_hand + n.delta, reserved = l.reserved + n.reserved_delta,
    version = l.version + n.movements, updated_us = $1
FROM (SELECT unnest($2::text[]) AS sku, unnest($3::text[]) AS location,
             unnest($4::bigint[]) AS delta, unnest($5::bigint[]) AS reserved_delta,
             unnest($6::bigint[]) AS movements) AS n
WHERE l.sku = n.sku AND l.location = n.location
  AND l.on_hand + n.delta + l.backorder_limit >= l.reserved + n.reserved_delta
  AND l.reserved + n.reserved_delta >= 0 AND NOT l.deleted
RETURNING l.sku, l.location, l.on_hand, l.reserved, l.version, l.low_stock_threshold, l.updated_us, l.backorder_limit";

/// Stores `writes`. Outside of a transaction the statement is one by itself.
pub(super) async fn write(
    connection: &mut PgConnection,
    writes: &Writes,
    guard: Guard,
) -> Result<(), StorageError> {
    let requests = sorted_requests(writes);
    let movements = sorted_movements(writes);
    let orders = &writes.orders;
    let (new, existing) = split_levels(writes);
    let existing = match guard {
        Guard::ByVersion => existing,
        Guard::Taken => Vec::new(),
    };
    let has_holds = holds::has_holds(writes);
    let text = if has_holds {
        COMMIT_ORDERS
    } else {
        COMMIT_BATCH
    };
    let statement = query(text)
        .bind(writes.time.us())
        .bind(column(&requests, |w| w.request_id.as_str()))
        .bind(column(&requests, |w| &w.fingerprint.as_bytes()[..]))
        .bind(sparse(&requests, |w| w.order_id.map(|id| id.0)))
        .bind(sparse(&requests, |w| Some(w.movement()?.0.sku.as_str())))
        .bind(sparse(&requests, |w| {
            Some(w.movement()?.0.location.as_str())
        }))
        .bind(sparse(&requests, |w| Some(w.movement()?.1.number())))
        .bind(column(orders, |o| o.order_id.0))
        .bind(column(orders, |o| o.request_id.as_str()))
        .bind(column(orders, |o| o.state as i16))
        .bind(column(orders, |o| orders::lines_json(o)))
        .bind(sparse(orders, |o| given(&o.customer_ref)))
        .bind(sparse(orders, |o| orders::labels_json(o)))
        .bind(column(&movements, |m| m.key.sku.as_str()))
        .bind(column(&movements, |m| m.key.location.as_str()))
        .bind(column(&movements, |m| m.version.number()))
        .bind(column(&movements, |m| m.kind as i16))
        .bind(column(&movements, |m| m.on_hand_delta))
        .bind(column(&movements, |m| m.reserved_delta))
        .bind(column(&movements, |m| m.on_hand))
        .bind(column(&movements, |m| m.reserved))
        .bind(sparse(&movements, |m| m.order_id.map(|id| id.0)))
        .bind(sparse(&movements, |m| {
            m.request_id.as_ref().map(RequestId::as_str)
        }))
        .bind(sparse(&movements, |m| given(&m.note)));
    let limit = |w: &&LevelWrite| w.level.backorder_limit;
    let statement =
        bind_levels(statement, &new).bind(sparse(&new, |w| Some(limit(w)).filter(|l| *l > 0)));
    let statement = bind_levels(statement, &existing)
        .bind(column(&existing, |w| w.expected.number()))
        .bind(writes.outbox.as_deref());
    if has_holds {
        let statement = bind_holds(statement, orders, &holds::deadlines(writes));
        let statement = bind_changes(statement, &writes.order_changes);
        statement.execute(connection).await?;
    } else {
        statement.execute(connection).await?;
    }
    Ok(())
}

type Statement<'a> = Query<'a, Postgres, PgArguments>;

fn bind_levels<'a>(statement: Statement<'a>, levels: &[&LevelWrite]) -> Statement<'a> {
    statement
        .bind(column(levels, |w| w.level.key.sku.as_str()))
        .bind(column(levels, |w| w.level.key.location.as_str()))
        .bind(column(levels, |w| w.level.on_hand))
        .bind(column(levels, |w| w.level.reserved))
        .bind(column(levels, |w| w.level.version.number()))
        .bind(column(levels, |w| w.level.low_stock_threshold))
}

fn bind_holds<'a>(
    statement: Statement<'a>,
    orders: &'a [Arc<Order>],
    deadlines: &[Deadline<'_>],
) -> Statement<'a> {
    let ids: Vec<Uuid> = deadlines
        .iter()
        .flat_map(|d| &d.orders)
        .map(|id| id.0)
        .collect();
    let levels = deadlines.iter().flat_map(|d| &d.levels);
    let levels: Vec<String> = levels.map(ToString::to_string).collect();
    statement
        .bind(sparse(orders, |o| Some(o.expires?.us())))
        .bind(column(deadlines, |d| d.first.us()))
        .bind(column(deadlines, |d| d.last.us()))
        .bind(places(deadlines, |d| d.orders.len()))
        .bind(places(deadlines, |d| d.levels.len()))
        .bind((!ids.is_empty()).then_some(ids))
        .bind((!levels.is_empty()).then_some(levels))
}

/// Where each row's part of a column that has those of all rows ends.
fn places<Row>(rows: &[Row], length: impl Fn(&Row) -> usize) -> Option<Vec<i32>> {
    let mut end = 0;
    column(rows, length).map(|lengths| {
        let ends = lengths.into_iter().map(|length| {
            end += length as i32;
            end
        });
        ends.collect()
    })
}

fn bind_changes<'a>(statement: Statement<'a>, changes: &'a [OrderWrite]) -> Statement<'a> {
    statement
        .bind(column(changes, |w| w.after.order_id.0))
        .bind(column(changes, |w| w.before.version))
        .bind(column(changes, |w| w.after.version))
        .bind(column(changes, |w| w.after.state as i16))
        .bind(sparse(changes, |w| Some(w.after.expires?.us())))
        .bind(sparse(changes, |w| given(&w.after.cancel_reason)))
        .bind(sparse(changes, |w| orders::moved_json(&w.after)))
}

/// A column of an array for each; NULL when there are no rows.
pub(in crate::storage) fn column<'a, Row, T>(
    rows: &'a [Row],
    value: impl Fn(&'a Row) -> T,
) -> Option<Vec<T>> {
    (!rows.is_empty()).then(|| rows.iter().map(value).collect())
}

/// A column of which most values are NULL; all of it is when no row has one.
fn sparse<'a, Row, T>(
    rows: &'a [Row],
    value: impl Fn(&'a Row) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let values: Vec<_> = rows.iter().map(value).collect();
    values.iter().any(Option::is_some).then_some(values)
}

pub(super) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

pub(super) async fn lock_levels(
    connection: &mut PgConnection,
    keys: &[LevelKey],
) -> Result<Vec<LoadedLevel>, StorageError> {
    let rows = query(LOCK_LEVELS)
        .bind((0..keys.len() as i64).collect::<Vec<_>>())
        .bind(column(keys, |key| key.sku.as_str()))
        .bind(column(keys, |key| key.location.as_str()))
        .fetch_all(&mut *connection)
        .await?;
    let mut levels = stock::no_levels(keys);
    for row in rows {
        let place: i64 = row.try_get(0)?;
        let found = usize::try_from(place)
            .ok()
            .and_then(|place| levels.get_mut(place));
        let found = found.ok_or_else(|| StorageError::corrupt("a level was not asked for"))?;
        *found = stock::loaded_level(&found.level.key, &row.into())?;
    }
    let none = |place: &usize| levels[*place].level.version == Version::NONE;
    let missing: Vec<usize> = (0..keys.len()).filter(none).collect();
    if !missing.is_empty() {
        know_products(connection, &mut levels, &missing).await?;
    }
    Ok(levels)
}

/// Fills in what is known of levels that have no row.
async fn know_products(
    connection: &mut PgConnection,
    levels: &mut [LoadedLevel],
    missing: &[usize],
) -> Result<(), StorageError> {
    let rows = query(
        "SELECT k.place, p.low_stock_threshold, p.backorder_limit FROM unnest($1::bigint[], $2::text[]) AS k (place, sku) \
         JOIN product AS p ON p.sku = k.sku",
    )
    .bind(column(missing, |i| *i as i64))
    .bind(column(missing, |i| levels[*i].level.key.sku.as_str()))
    .fetch_all(connection)
    .await?;
    for row in rows {
        let place: i64 = row.try_get(0)?;
        let known = usize::try_from(place)
            .ok()
            .and_then(|place| levels.get_mut(place));
        let known = known.ok_or_else(|| StorageError::corrupt("a product was not asked for"))?;
        known.level.low_stock_threshold = row.try_get(1)?;
        known.level.backorder_limit = row.try_get(2)?;
        known.sku_known = true;
    }
    Ok(())
}

pub(super) async fn take(
    connection: &mut PgConnection,
    takes: &[LevelTake],
    now: Timestamp,
) -> Result<Vec<StockLevel>, StorageError> {
    let rows = query(TAKE)
        .bind(now.us())
        .bind(column(takes, |t| t.key.sku.as_str()))
        .bind(column(takes, |t| t.key.location.as_str()))
        .bind(column(takes, |t| t.on_hand_delta))
        .bind(column(takes, |t| t.reserved_delta))
        .bind(column(takes, |t| t.movements))
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|row| stock::listed_level(&row.into()))
        .collect()
}
