//! Holds that are over, and the clock that says so: the database's.
//!
//! Whether a hold is over is always asked of the database, so that a server whose clock is
//! wrong ends none too early. What is found may have changed meanwhile; the order's version
//! guards its end.

use sea_orm::{FromQueryResult as _, QueryResult};

use super::entity::order;
use super::orders::columns_of_order;
use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store, WriteTx, orders};
use crate::domain::{LevelKey, Order, OrderId, Timestamp};
use crate::error::chain;

/// Holds that are looked up for orders at once, at most. An order has up to 1,000 lines.
const RECLAIMED_AT_ONCE: i64 = 256;

/// In microseconds, by SQLite's clock, which stands still while a statement looks.
macro_rules! now_sqlite {
    () => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
}

/// In microseconds, by one of PostgreSQL's functions.
macro_rules! now_postgres {
    ($clock:literal) => {
        concat!("(extract(epoch FROM ", $clock, "()) * 1000000)::bigint")
    };
}

const NOW: RawStatement = RawStatement {
    postgres: concat!("SELECT ", now_postgres!("clock_timestamp")),
    sqlite: concat!("SELECT ", now_sqlite!()),
};

/// Holds that are over, of `$deadlines AS d`, by the time at which the statement came: one that
/// went on while it runs could not be looked up in the index. A deadline outlives the holds that ended
/// early, and an order that was to last longer has several: its own row decides.
///
/// OFFSET 0 keeps the planner from taking orders first: planned while their table was empty,
/// the statement would go through all of them from then on
/// (<https://www.postgresql.org/docs/15/plpgsql-implementation.html>, "Plan Caching").
macro_rules! over_postgres {
    ($deadlines:literal, $and:literal) => {
        concat!(
            "SELECT ",
            columns_of_order!(),
            ", n.now_us
FROM (SELECT ",
            now_postgres!("statement_timestamp"),
            " AS now_us) AS n
CROSS JOIN LATERAL (
    SELECT DISTINCT order_id FROM (
        SELECT held.order_id FROM ",
            $deadlines,
            " AS d
        CROSS JOIN LATERAL unnest(d.order_ids) AS held (order_id)
        CROSS JOIN LATERAL (SELECT lines FROM orders WHERE order_id = held.order_id
                            AND state = 2 AND expires_us <= n.now_us OFFSET 0) AS h
        ",
            $and,
            ") AS found) AS due
CROSS JOIN LATERAL (SELECT * FROM orders WHERE order_id = due.order_id OFFSET 0) AS o"
        )
    };
}

/// The same for SQLite: what deadlines have to be beside over, and what orders.
macro_rules! over_sqlite {
    ($deadlines:literal, $and:literal) => {
        concat!(
            "SELECT ",
            columns_of_order!(),
            ", n.now_us
FROM (SELECT ",
            now_sqlite!(),
            " AS now_us) AS n
CROSS JOIN orders AS o
WHERE o.order_id IN (
    SELECT h.order_id FROM hold_deadline AS d
    CROSS JOIN json_each(d.order_ids) AS held
    CROSS JOIN orders AS h ON h.order_id = unhex(held.value)
    WHERE d.first_us <= ",
            now_sqlite!(),
            $deadlines,
            "
      AND h.state = 2 AND h.expires_us <= ",
            now_sqlite!(),
            "
    ",
            $and,
            ")"
        )
    };
}

const OF_LEVELS: RawStatement = RawStatement {
    postgres: over_postgres!(
        "hold_deadline",
        "WHERE d.first_us <= n.now_us AND d.levels && $1::text[] AND held.order_id <> ALL ($2::uuid[])
          AND EXISTS (SELECT FROM json_to_recordset(h.lines) AS l (sku text, location text)
                      WHERE l.sku || '@' || l.location = ANY ($1))
        LIMIT $3"
    ),
    sqlite: over_sqlite!(
        "
      AND EXISTS (SELECT 1 FROM json_each(d.levels) WHERE value IN (SELECT value FROM json_each(?1)))",
        "  AND held.value NOT IN (SELECT value FROM json_each(?2))
      AND EXISTS (SELECT 1 FROM json_each(h.lines) AS l
                  WHERE (l.value ->> 'sku') || '@' || (l.value ->> 'location') IN (SELECT value FROM json_each(?1)))
    LIMIT ?3"
    ),
};

const OVERDUE: RawStatement = RawStatement {
    postgres: over_postgres!(
        "(SELECT order_ids FROM hold_deadline WHERE first_us <= n.now_us ORDER BY first_us)",
        "LIMIT $1"
    ),
    sqlite: over_sqlite!("", "ORDER BY d.first_us LIMIT ?"),
};

/// Deadlines that are over and on whose account no order reserves. An order that lasts
/// longer since has another.
const FORGET: RawStatement = RawStatement {
    postgres: concat!(
        "\
DELETE FROM hold_deadline WHERE id = ANY (ARRAY(
    SELECT d.id FROM hold_deadline AS d
    WHERE d.first_us <= ",
        now_postgres!("statement_timestamp"),
        "
      AND NOT EXISTS (SELECT FROM unnest(d.order_ids) AS held (order_id)
                      CROSS JOIN LATERAL (SELECT FROM orders WHERE order_id = held.order_id
                                          AND state = 2 AND expires_us <= d.last_us OFFSET 0) AS o)
    ORDER BY d.first_us LIMIT $1))
RETURNING id"
    ),
    sqlite: concat!(
        "\
DELETE FROM hold_deadline WHERE id IN (
    SELECT d.id FROM hold_deadline AS d
    WHERE d.first_us <= ",
        now_sqlite!(),
        "
      AND NOT EXISTS (SELECT 1 FROM json_each(d.order_ids) AS held
                      CROSS JOIN orders AS o ON o.order_id = unhex(held.value)
                      WHERE o.state = 2 AND o.expires_us <= d.last_us)
    ORDER BY d.first_us LIMIT ?)
RETURNING id"
    ),
};

/// Deadlines that are taken away by one statement, at most: it looks at 256 orders for each.
const FORGOTTEN_AT_ONCE: i64 = 64;

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

impl HeldLevels {
    /// Those of [`OF_LEVELS`].
    fn values(&self) -> [RawValue<'_>; 3] {
        [
            RawValue::texts(self.keys.iter().map(LevelKey::to_string)),
            RawValue::Ids(&self.but_for),
            RawValue::Number(RECLAIMED_AT_ONCE),
        ]
    }
}

impl Store {
    /// Holds on levels that are over: some hundreds at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expired_holds(&self, held: &HeldLevels) -> Result<Vec<ExpiredHold>, StorageError> {
        let rows = self.writer.rows(OF_LEVELS, &held.values()).await?;
        Ok(rows.iter().filter_map(expired).collect())
    }

    /// The holds that have been over for longest, `limit` of them at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overdue_holds(&self, limit: usize) -> Result<Vec<ExpiredHold>, StorageError> {
        let limit = RawValue::Number(limit as i64);
        let rows = self.readers.rows(OVERDUE, &[limit]).await?;
        Ok(rows.iter().filter_map(expired).collect())
    }

    /// Takes away the deadlines that are over and have nothing left to end.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_deadlines(&self) -> Result<(), StorageError> {
        while self.forget_some_deadlines().await? == FORGOTTEN_AT_ONCE as u64 {}
        Ok(())
    }

    /// The first of them, with one statement: how many, 64 at most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_some_deadlines(&self) -> Result<u64, StorageError> {
        let limit = RawValue::Number(FORGOTTEN_AT_ONCE);
        let forgotten = self.writer.rows(FORGET, &[limit]).await?;
        Ok(forgotten.len() as u64)
    }

    /// The time by the database's clock.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now(&self) -> Result<Timestamp, StorageError> {
        let rows = self.readers.rows(NOW, &[]).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StorageError::corrupt("the clock gave no row"))?;
        Ok(Timestamp::from_us(row.try_get_by_index(0)?))
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
        let rows = self.rows(OF_LEVELS, &held.values()).await?;
        Ok(rows.iter().filter_map(expired).collect())
    }
}

/// None where the row makes no sense: it is reported, and keeps no other from ending.
fn expired(row: &QueryResult) -> Option<ExpiredHold> {
    let read = || {
        let found = order::Model::from_query_result(row, "")?;
        Ok(ExpiredHold {
            order: orders::order_of(found)?,
            now: Timestamp::from_us(row.try_get("", "now_us")?),
        })
    };
    let read: Result<_, StorageError> = read();
    let reported = read.inspect_err(|error| {
        tracing::error!(error = chain(error), "cannot read a hold that is over");
    });
    reported.ok()
}
