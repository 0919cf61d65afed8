//! Holds that are over, and the clock that says so: the database's.
//!
//! Whether a hold is over is always asked of the database, so that a server whose clock is
//! wrong ends none too early. What is found may have changed meanwhile; the order's version
//! guards its end.

use sea_orm::sqlx::{PgConnection, SqliteConnection, query, query_scalar};
use sea_orm::{FromQueryResult as _, QueryResult};
use uuid::Uuid;

use super::entity::order;
use super::orders::columns_of_order;
use super::{Connection, StorageError, Store, WriteTx, orders, stock};
use crate::domain::{LevelKey, Order, OrderId, Timestamp};

/// Holds that are looked up for orders at once, at most. An order has up to 1,000 lines.
const RECLAIMED_AT_ONCE: i64 = 256;

const NOW_POSTGRES: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

const NOW_SQLITE: &str = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// An order may hold several of the levels.
const OF_LEVELS_POSTGRES: &str = concat!(
    "SELECT ",
    columns_of_order!(),
    ", n.now_us
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us) AS n
CROSS JOIN LATERAL (
    SELECT DISTINCT order_id FROM (
        SELECT h.order_id FROM unnest($1::text[], $2::text[]) AS k (sku, location)
        JOIN hold AS h ON h.sku = k.sku AND h.location = k.location AND h.expires_us <= n.now_us
        WHERE h.order_id <> ALL ($3::uuid[])
        LIMIT $4) AS found) AS due
JOIN orders AS o ON o.order_id = due.order_id"
);

const OF_LEVELS_SQLITE: &str = concat!(
    "SELECT ",
    columns_of_order!(),
    ", n.now_us
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS n
CROSS JOIN orders AS o
WHERE o.order_id IN (
    SELECT h.order_id FROM json_each(?) AS k
    JOIN hold AS h ON h.sku = k.value ->> 0 AND h.location = k.value ->> 1
    WHERE h.expires_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER)
      AND hex(h.order_id) NOT IN (SELECT value FROM json_each(?))
    LIMIT ?)"
);

const OVERDUE_POSTGRES: &str = concat!(
    "SELECT ",
    columns_of_order!(),
    ", n.now_us
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us) AS n
CROSS JOIN LATERAL (
    SELECT order_id FROM hold WHERE is_first AND expires_us <= n.now_us ORDER BY expires_us LIMIT $1) AS due
JOIN orders AS o ON o.order_id = due.order_id"
);

const OVERDUE_SQLITE: &str = concat!(
    "SELECT ",
    columns_of_order!(),
    ", n.now_us
FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now_us) AS n
CROSS JOIN orders AS o
WHERE o.order_id IN (
    SELECT order_id FROM hold
    WHERE is_first AND expires_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    ORDER BY expires_us LIMIT ?)"
);

/// An order whose hold was over when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredHold {
    /// The order as it stood.
    pub order: Order,
    /// When it was read, by the database's clock.
    pub now: Timestamp,
}

/// Levels that somebody is short of while others hold some of their units.
#[derive(Debug, Clone)]
pub struct HeldLevels {
    /// The levels.
    pub keys: Vec<LevelKey>,
    /// Orders that are known already.
    pub but_for: Vec<OrderId>,
}

impl Store {
    /// Holds on levels that are over: some hundreds at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expired_holds(&self, held: &HeldLevels) -> Result<Vec<ExpiredHold>, StorageError> {
        let read = async {
            match Connection::of(&self.writer()) {
                Connection::Postgres(pool) => of_postgres(&mut *pool.acquire().await?, held).await,
                Connection::Sqlite(pool) => of_sqlite(&mut *pool.acquire().await?, held).await,
            }
        };
        self.writer.bounded(read).await
    }

    /// The holds that have been over for longest, `limit` of them at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overdue_holds(&self, limit: usize) -> Result<Vec<ExpiredHold>, StorageError> {
        let limit = limit as i64;
        let read = async {
            match Connection::of(&self.readers()) {
                Connection::Postgres(pool) => {
                    let statement = query(OVERDUE_POSTGRES).bind(limit);
                    let rows = statement.fetch_all(&mut *pool.acquire().await?).await?;
                    rows.into_iter().map(|row| expired(&row.into())).collect()
                }
                Connection::Sqlite(pool) => {
                    let statement = query(OVERDUE_SQLITE).bind(limit);
                    let rows = statement.fetch_all(&mut *pool.acquire().await?).await?;
                    rows.into_iter().map(|row| expired(&row.into())).collect()
                }
            }
        };
        self.readers.bounded(read).await
    }

    /// The time by the database's clock.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now(&self) -> Result<Timestamp, StorageError> {
        let read = async {
            Ok(match Connection::of(&self.readers()) {
                Connection::Postgres(pool) => query_scalar(NOW_POSTGRES).fetch_one(&pool).await?,
                Connection::Sqlite(pool) => query_scalar(NOW_SQLITE).fetch_one(&pool).await?,
            })
        };
        let now: i64 = self.readers.bounded(read).await?;
        Ok(Timestamp::from_us(now))
    }
}

impl WriteTx {
    /// As [`Store::expired_holds`], within the transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expired_holds(
        &mut self,
        held: &HeldLevels,
    ) -> Result<Vec<ExpiredHold>, StorageError> {
        match self {
            Self::Postgres(tx) => of_postgres(tx, held).await,
            Self::Sqlite(tx) => of_sqlite(tx, held).await,
        }
    }
}

async fn of_postgres(
    connection: &mut PgConnection,
    held: &HeldLevels,
) -> Result<Vec<ExpiredHold>, StorageError> {
    let keys = held.keys.iter();
    let rows = query(OF_LEVELS_POSTGRES)
        .bind(keys.clone().map(|key| key.sku.as_str()).collect::<Vec<_>>())
        .bind(keys.map(|key| key.location.as_str()).collect::<Vec<_>>())
        .bind(held.but_for.iter().map(|id| id.0).collect::<Vec<Uuid>>())
        .bind(RECLAIMED_AT_ONCE)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| expired(&row.into())).collect()
}

async fn of_sqlite(
    connection: &mut SqliteConnection,
    held: &HeldLevels,
) -> Result<Vec<ExpiredHold>, StorageError> {
    let but_for = held.but_for.iter();
    // As hex() writes them.
    let but_for = but_for.map(|id| format!("{:X}", id.0.simple()));
    let rows = query(OF_LEVELS_SQLITE)
        .bind(stock::keys_json(&held.keys))
        .bind(serde_json::Value::from_iter(but_for).to_string())
        .bind(RECLAIMED_AT_ONCE)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| expired(&row.into())).collect()
}

fn expired(row: &QueryResult) -> Result<ExpiredHold, StorageError> {
    let found = order::Model::from_query_result(row, "")?;
    Ok(ExpiredHold {
        order: orders::order_of(found)?,
        now: Timestamp::from_us(row.try_get("", "now_us")?),
    })
}
