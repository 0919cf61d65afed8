//! A batch on SQLite, a statement for each table. `BEGIN IMMEDIATE` shuts every other
//! writer out, so what was read in this transaction cannot change; but a plan made
//! from memory has not looked for its request ids, and one of them may be stored.
//!
//! The rows of a statement are a VALUES list, filled up to one of two dozen lengths, so
//! that there are few texts and a batch takes one statement a table: each is a trip to
//! SQLite's own thread and back. Parameters that are not bound are NULL
//! (<https://sqlite.org/lang_expr.html#parameters>), which is how rows that fill the
//! list up are told from others. A value that all rows share is bound once, before them.

use std::sync::Arc;

use sea_orm::sqlx::sqlite::{Sqlite, SqliteArguments};
use sea_orm::sqlx::{Arguments as _, AssertSqlSafe, Encode, SqliteConnection, Type, query};
use serde_json::Value;

use super::super::error::StorageError;
use super::super::raw::{RawValue, hex};
use super::super::{orders, stock};
use super::holds::{self, Deadline};
use super::{Writes, sorted_movements, sorted_requests, split_levels};
use crate::domain::{
    LevelKey, LevelWrite, LoadedLevel, Movement, Order, OrderId, OrderWrite, RequestId,
    RequestWrite, StockLevel,
};

const INSERT_REQUESTS: &str = "\
INSERT INTO request (request_id, fingerprint, order_id, sku, location, version)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
ON CONFLICT DO NOTHING";

const INSERT_ORDERS: &str = "\
INSERT INTO orders (created_us, updated_us, version, order_id, request_id, state, lines, customer_ref, labels,
                    expires_us)
SELECT ?, ?, 1, * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

const INSERT_LABELS: &str = "\
INSERT INTO order_label (key, value, order_id)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

const INSERT_MOVEMENTS: &str = "\
INSERT INTO movement (time_us, sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      order_id, request_id, note)
SELECT ?, * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

/// All that a commit makes of a level follows from the version that it was at.
const FILE_MOVEMENTS: &str = "\
INSERT INTO movement_time (time_us, sku, location, version, after_version)
SELECT ?, * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

const INSERT_LEVELS: &str = "\
INSERT INTO stock_level (updated_us, sku, location, on_hand, reserved, version, low_stock_threshold, backorder_limit)
SELECT ?, * FROM (VALUES {rows})
WHERE EXISTS (SELECT 1 FROM product AS p
              WHERE p.sku = column1 AND p.low_stock_threshold = column6 AND p.backorder_limit = column7)
ON CONFLICT DO NOTHING";

const UPDATE_LEVELS: &str = "\
UPDATE stock_level
SET updated_us = ?, on_hand = n.on_hand, reserved = n.reserved, version = n.version,
    low_stock_threshold = n.low_stock_threshold
FROM (SELECT column1 AS sku, column2 AS location, column3 AS on_hand, column4 AS reserved,
             column5 AS version, column6 AS low_stock_threshold, column7 AS expected
      FROM (VALUES {rows})) AS n
WHERE stock_level.sku = n.sku AND stock_level.location = n.location
  AND stock_level.version = n.expected";

const UPDATE_ORDERS: &str = "\
UPDATE orders
SET updated_us = ?, version = n.version, state = n.state, expires_us = n.expires, cancel_reason = n.reason,
    moved = n.moved
FROM (SELECT column1 AS order_id, column2 AS expected, column3 AS version, column4 AS state,
             column5 AS expires, column6 AS reason, column7 AS moved
      FROM (VALUES {rows})) AS n
WHERE orders.order_id = n.order_id AND orders.version = n.expected";

const INSERT_DEADLINES: &str = "\
INSERT INTO hold_deadline (first_us, last_us, order_ids, levels)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

const INSERT_EVENTS: &str = "INSERT INTO outbox (created_us, body) VALUES (?, ?)";

/// Most rows of one statement. Those of the widest, the halves of transfers, are 26,625
/// parameters; SQLite takes 32,766.
const ROWS_MAX: usize = 2_048;

/// Stores `writes`, the guards first: whoever is too late has written nothing.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    writes: &Writes,
) -> Result<(), StorageError> {
    change_orders(connection, writes).await?;
    let (new, existing) = split_levels(writes);
    let at = |times| Parameters::of_all(times, writes.time.us());
    let mut written = store(connection, INSERT_LEVELS, at(1), 7, &new, new_level_row).await?;
    written += store(connection, UPDATE_LEVELS, at(1), 7, &existing, level_row).await?;
    if written < writes.levels.len() as u64 {
        return Err(StorageError::Conflict {
            levels: moved_on(connection, writes).await?,
        });
    }
    let requests = sorted_requests(writes);
    let answered = store(
        connection,
        INSERT_REQUESTS,
        at(0),
        6,
        &requests,
        request_row,
    );
    if answered.await? < requests.len() as u64 {
        return Err(StorageError::Conflict { levels: Vec::new() });
    }
    let orders = &writes.orders;
    if holds::has_holds(writes) {
        let (none, begun) = (Parameters::default(), holds::deadlines(writes));
        store(connection, INSERT_DEADLINES, none, 4, &begun, deadline_row).await?;
    }
    store(connection, INSERT_ORDERS, at(2), 7, orders, order_row).await?;
    let labels: Vec<_> = orders
        .iter()
        .flat_map(|order| orders::labels(order))
        .collect();
    store(connection, INSERT_LABELS, at(0), 3, &labels, label_row).await?;
    let movements = sorted_movements(writes);
    store(
        connection,
        INSERT_MOVEMENTS,
        at(1),
        11,
        &movements,
        movement_row,
    )
    .await?;
    let levels = &writes.levels;
    store(connection, FILE_MOVEMENTS, at(1), 4, levels, time_row).await?;
    if let Some(events) = &writes.outbox {
        let statement = query(INSERT_EVENTS).bind(writes.time.us());
        let statement = statement.bind(events.as_slice());
        statement.execute(connection).await?;
    }
    Ok(())
}

/// A guard as well, and the first: the units of an order that has ended would leave less
/// than nothing reserved.
async fn change_orders(
    connection: &mut SqliteConnection,
    writes: &Writes,
) -> Result<(), StorageError> {
    let changes = &writes.order_changes;
    let at = Parameters::of_all(1, writes.time.us());
    let changed = store(connection, UPDATE_ORDERS, at, 7, changes, change_row).await?;
    if changed < changes.len() as u64 {
        let lines = changes.iter().flat_map(|write| &write.after.lines);
        return Err(StorageError::Conflict {
            levels: lines.map(|line| line.key.clone()).collect(),
        });
    }
    Ok(())
}

fn change_row(row: &mut Parameters, write: &OrderWrite) {
    let after = &write.after;
    row.add(after.order_id.0);
    row.add(write.before.version);
    row.add(after.version);
    row.add(after.state as i64);
    row.add(after.expires.map(|expires| expires.us()));
    row.add((!after.cancel_reason.is_empty()).then_some(after.cancel_reason.as_str()));
    row.add(orders::moved_json(after));
}

fn deadline_row(row: &mut Parameters, deadline: &Deadline<'_>) {
    let ids = deadline.orders.iter().map(hex);
    let levels = deadline.levels.iter().map(ToString::to_string);
    row.add(deadline.first.us());
    row.add(deadline.last.us());
    row.add(Value::from_iter(ids).to_string());
    row.add(Value::from_iter(levels).to_string());
}

fn level_row(row: &mut Parameters, write: &&LevelWrite) {
    values_row(row, &write.level);
    row.add(write.expected.number());
}

fn new_level_row(row: &mut Parameters, write: &&LevelWrite) {
    values_row(row, &write.level);
    row.add(write.level.backorder_limit);
}

fn values_row(row: &mut Parameters, level: &StockLevel) {
    row.add(level.key.sku.shared());
    row.add(level.key.location.shared());
    row.add(level.on_hand);
    row.add(level.reserved);
    row.add(level.version.number());
    row.add(level.low_stock_threshold);
}

fn time_row(row: &mut Parameters, write: &LevelWrite) {
    let level = &write.level;
    row.add(level.key.sku.shared());
    row.add(level.key.location.shared());
    row.add(level.version.number());
    row.add(write.expected.number());
}

fn request_row(row: &mut Parameters, request: &&RequestWrite) {
    row.add(request.request_id.shared());
    row.add(&request.fingerprint.as_bytes()[..]);
    row.add(request.order_id.map(|id| id.0));
    let movement = request.movement();
    row.add(movement.map(|(key, _)| key.sku.shared()));
    row.add(movement.map(|(key, _)| key.location.shared()));
    row.add(movement.map(|(_, version)| version.number()));
}

fn order_row(row: &mut Parameters, order: &Arc<Order>) {
    row.add(order.order_id.0);
    row.add(order.request_id.shared());
    row.add(order.state as i64);
    row.add(orders::lines_json(order));
    row.add((!order.customer_ref.is_empty()).then_some(order.customer_ref.as_str()));
    row.add(orders::labels_json(order));
    row.add(order.expires.map(|expires| expires.us()));
}

fn label_row(row: &mut Parameters, &(key, value, order_id): &(&str, &str, OrderId)) {
    row.add(key);
    row.add(value);
    row.add(order_id.0);
}

pub(super) fn movement_row(row: &mut Parameters, movement: &&Movement) {
    row.add(movement.key.sku.shared());
    row.add(movement.key.location.shared());
    row.add(movement.version.number());
    row.add(movement.kind as i64);
    row.add(movement.on_hand_delta);
    row.add(movement.reserved_delta);
    row.add(movement.on_hand);
    row.add(movement.reserved);
    row.add(movement.order_id.map(|id| id.0));
    row.add(movement.request_id.as_ref().map(RequestId::shared));
    row.add((!movement.note.is_empty()).then_some(movement.note.as_str()));
}

/// Values to bind: those that all rows share, then row after row.
#[derive(Clone, Default)]
pub(in crate::storage) struct Parameters(SqliteArguments);

impl Parameters {
    /// The same number so many times.
    fn of_all(times: usize, number: i64) -> Self {
        let mut parameters = Self::default();
        for _ in 0..times {
            parameters.add(number);
        }
        parameters
    }

    pub(in crate::storage) fn add<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) {
        self.0
            .add(value)
            .expect("numbers, texts, bytes and UUIDs always have a form in SQLite");
    }
}

/// Runs `sql` over `rows` of `width` columns, after what they share, and returns how
/// many it stored.
pub(in crate::storage) async fn store<Row>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    shared: Parameters,
    width: usize,
    rows: &[Row],
    bind: impl Fn(&mut Parameters, &Row),
) -> Result<u64, StorageError> {
    let mut stored = 0;
    for rows in rows.chunks(ROWS_MAX) {
        let mut parameters = shared.clone();
        parameters.0.reserve(rows.len() * width, 0);
        for row in rows {
            bind(&mut parameters, row);
        }
        let places = placeholders(filled_up(rows.len()), width);
        let text = AssertSqlSafe(sql.replace("{rows}", &places));
        let statement = sea_orm::sqlx::query_with(text, parameters.0);
        stored += statement.execute(&mut *connection).await?.rows_affected();
    }
    Ok(stored)
}

/// The length to which a list of so many rows is filled up: 1, 2, 3, 4, 6, 8, 12, 16 …
fn filled_up(rows: usize) -> usize {
    let power = rows.next_power_of_two();
    let between = power / 4 * 3;
    if rows <= between { between } else { power }
}

/// `(?,?),(?,?)`
fn placeholders(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![row; rows].join(",")
}

/// Which levels were not at the expected version. Those that this transaction has
/// written are at their new one, which nobody else can have made.
async fn moved_on(
    connection: &mut SqliteConnection,
    writes: &Writes,
) -> Result<Vec<LevelKey>, StorageError> {
    let keys: Vec<LevelKey> = writes.levels.iter().map(|w| w.level.key.clone()).collect();
    let now = read_levels(connection, &keys).await?;
    let written = writes.levels.iter().map(|write| write.level.version);
    let moved_on = now.into_iter().zip(written);
    Ok(moved_on
        .filter(|(now, written)| now.level.version != *written)
        .map(|(now, _)| now.level.key)
        .collect())
}

/// Reads levels in this transaction.
pub(super) async fn read_levels(
    connection: &mut SqliteConnection,
    keys: &[LevelKey],
) -> Result<Vec<LoadedLevel>, StorageError> {
    let asked = [RawValue::Levels(keys)];
    let rows = stock::READ_LEVELS.on_sqlite(connection, &asked).await?;
    stock::loaded_levels(keys, rows)
}

#[cfg(test)]
mod tests {
    use super::{ROWS_MAX, filled_up, placeholders};

    #[test]
    fn a_statement_has_a_place_for_each_value() {
        assert_eq!(placeholders(2, 3), "(?,?,?),(?,?,?)");
    }

    #[test]
    fn every_list_is_filled_up_by_less_than_a_half_to_one_of_few_lengths() {
        let mut lengths: Vec<usize> = (1..=ROWS_MAX).map(filled_up).collect();
        for (rows, length) in (1..).zip(&lengths) {
            assert!(
                (rows..=rows + rows / 2).contains(length),
                "{rows}: {length}"
            );
        }
        lengths.dedup();
        assert_eq!(lengths.len(), 22);
        assert_eq!(lengths[..8], [1, 2, 3, 4, 6, 8, 12, 16]);
    }
}
