//! The one transaction that changes stock.
//!
//! Reads the levels and requests that a batch names, then stores what was
//! planned from them. Every statement takes its rows in ascending (sku,
//! location), so that two instances wait for each other and never deadlock; the
//! levels come last, guarded by version.

mod postgres;
mod sqlite;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryResult,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use uuid::Uuid;

use super::error::StorageError;
use super::rows::Rows;
use super::{Store, orders, stock};
use crate::domain::{
    Fingerprint, LevelKey, LevelWrite, Loaded, LoadedLevel, RequestId, StoredAnswer, StoredRequest,
    Version, Writes,
};

/// An open write transaction; [`Store::transaction`] ends it.
#[derive(Debug)]
pub struct WriteTx {
    pub(super) tx: DatabaseTransaction,
}

/// How the work of a transaction ends when nothing failed.
#[derive(Debug)]
pub enum Verdict<T> {
    /// Make the writes durable first.
    Commit(T),
    /// There are none: give the transaction up.
    Leave(T),
}

impl Store {
    /// Does `work` in one write transaction. Must run in a task of its own, so
    /// that a caller that hangs up does not drop it half-way.
    ///
    /// # Errors
    /// Those of `work`, [`StorageError::Unavailable`] when no connection can be had
    /// or the database falls silent, [`StorageError::CommitUnknown`] when it
    /// breaks or falls silent during COMMIT.
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&WriteTx) -> Result<Verdict<T>, StorageError>,
    ) -> Result<T, StorageError> {
        let committing = AtomicBool::new(false);
        let transaction = async {
            let tx = begin(&self.writer()).await?;
            let tx = WriteTx { tx };
            match work(&tx).await {
                Ok(Verdict::Commit(done)) => {
                    committing.store(true, Ordering::Relaxed);
                    tx.tx.commit().await.map_err(StorageError::of_commit)?;
                    Ok(done)
                }
                Ok(Verdict::Leave(done)) => {
                    tx.rollback().await;
                    Ok(done)
                }
                Err(error) => {
                    // At once, not when the connection is used next: its locks
                    // stand in others' way.
                    tx.rollback().await;
                    Err(error)
                }
            }
        };
        match self.writer.bounded(transaction).await {
            Err(StorageError::Unavailable(error)) if committing.load(Ordering::Relaxed) => {
                Err(StorageError::CommitUnknown(error))
            }
            other => other,
        }
    }
}

/// A bare transaction that may write from its first statement on.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that begins transactions"
)]
pub(super) async fn begin(
    connection: &DatabaseConnection,
) -> Result<DatabaseTransaction, StorageError> {
    let options = TransactionOptions {
        // A deferred one would fail at once when it turns into a writer.
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    Ok(connection.begin_with_options(options).await?)
}

impl WriteTx {
    pub(super) fn backend(&self) -> DbBackend {
        self.tx.get_database_backend()
    }

    /// The text for this transaction's database.
    fn pick(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        match self.backend() {
            DbBackend::Postgres => postgres,
            _ => sqlite,
        }
    }

    /// Runs a query over `rows`.
    async fn query(&self, sql: &str, rows: Rows) -> Result<Vec<QueryResult>, StorageError> {
        let mut found = Vec::new();
        for statement in rows.statements(self.backend(), sql) {
            found.extend(self.tx.query_all_raw(statement).await?);
        }
        Ok(found)
    }

    /// Runs a statement over `rows` and returns how many it affected.
    pub(super) async fn execute(&self, sql: &str, rows: Rows) -> Result<u64, StorageError> {
        let mut affected = 0;
        for statement in rows.statements(self.backend(), sql) {
            affected += self.tx.execute_raw(statement).await?.rows_affected();
        }
        Ok(affected)
    }

    /// Reads what a batch needs to be planned: one entry for each of `keys`, and
    /// those of `requests` that have been answered.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(
        &self,
        keys: Vec<LevelKey>,
        requests: &[RequestId],
    ) -> Result<Loaded, StorageError> {
        let levels = self.load_levels(keys).await?;
        let requests = self.load_requests(requests).await?;
        Ok(Loaded { levels, requests })
    }

    async fn load_levels(
        &self,
        keys: Vec<LevelKey>,
    ) -> Result<HashMap<LevelKey, LoadedLevel>, StorageError> {
        let loaded = stock::read_levels(&self.tx, &keys).await?;
        Ok(keys.into_iter().zip(loaded).collect())
    }

    async fn load_requests(
        &self,
        requests: &[RequestId],
    ) -> Result<HashMap<RequestId, StoredRequest>, StorageError> {
        let rows = Rows::default().text(requests.iter().map(RequestId::as_str));
        let sql = self.pick(postgres::LOAD_REQUESTS, sqlite::LOAD_REQUESTS);
        let mut found = HashMap::new();
        for row in self.query(sql, rows).await? {
            let (request_id, stored) = self.stored_request(&row).await?;
            found.insert(request_id, stored);
        }
        Ok(found)
    }

    /// Repeats are rare, so what each made is read on its own.
    async fn stored_request(
        &self,
        row: &QueryResult,
    ) -> Result<(RequestId, StoredRequest), StorageError> {
        let request_id = RequestId::new(row.try_get_by_index::<String>(0)?)
            .map_err(|e| StorageError::corrupt(format!("request.request_id {e}")))?;
        let fingerprint: [u8; 16] = row
            .try_get_by_index::<Vec<u8>>(1)?
            .try_into()
            .map_err(|_| StorageError::corrupt("request.fingerprint is not of 16 bytes"))?;
        let answer = match row.try_get_by_index::<Option<Uuid>>(2)? {
            Some(order_id) => {
                let order = orders::find(&self.tx, order_id).await?;
                StoredAnswer::Order(Arc::new(order.ok_or_else(|| {
                    StorageError::corrupt(format!("request {request_id} names no order"))
                })?))
            }
            None => {
                let key = stock::key(
                    &row.try_get_by_index::<String>(3)?,
                    &row.try_get_by_index::<String>(4)?,
                )?;
                let version = Version::new(row.try_get_by_index(5)?);
                let movement = stock::find_movement(&self.tx, &key, version).await?;
                StoredAnswer::Movement(Arc::new(movement.ok_or_else(|| {
                    StorageError::corrupt(format!("request {request_id} names no movement"))
                })?))
            }
        };
        let fingerprint = Fingerprint::from_bytes(fingerprint);
        Ok((
            request_id,
            StoredRequest {
                fingerprint,
                answer,
            },
        ))
    }

    /// Stores what was planned. After an error the transaction must be dropped.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when a level is not at its expected version or
    /// a request has been answered since they were loaded.
    pub async fn write(&self, writes: &Writes) -> Result<(), StorageError> {
        match self.backend() {
            DbBackend::Postgres => postgres::write(self, writes).await,
            _ => sqlite::write(self, writes).await,
        }
    }

    /// A connection that fails here has lost its transaction anyway.
    async fn rollback(self) {
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(%error, "rollback failed");
        }
    }
}

/// The rows of table `request`, by what the requests made.
struct RequestRows {
    /// request_id, fingerprint, order_id.
    of_orders: Rows,
    /// request_id, fingerprint, sku, location, version.
    of_movements: Rows,
}

fn request_rows(writes: &Writes) -> RequestRows {
    // Sorted, so that two instances with the same ids wait and never deadlock.
    let mut requests: Vec<_> = writes.requests.iter().collect();
    requests.sort_unstable_by(|a, b| a.request_id.cmp(&b.request_id));
    let orders = || {
        let orders = requests.iter().map(|w| (w, w.order_id));
        orders.filter_map(|(w, order_id)| Some((w, order_id?)))
    };
    let movements = || {
        let movements = requests.iter().map(|w| (w, w.movement.as_ref()));
        movements.filter_map(|(w, movement)| Some((w, movement?)))
    };
    RequestRows {
        of_orders: Rows::default()
            .text(orders().map(|(w, _)| w.request_id.as_str()))
            .bytes(orders().map(|(w, _)| &w.fingerprint.as_bytes()[..]))
            .uuid(orders().map(|(_, order_id)| order_id.0)),
        of_movements: Rows::default()
            .text(movements().map(|(w, _)| w.request_id.as_str()))
            .bytes(movements().map(|(w, _)| &w.fingerprint.as_bytes()[..]))
            .text(movements().map(|(_, (key, _))| key.sku.as_str()))
            .text(movements().map(|(_, (key, _))| key.location.as_str()))
            .int(movements().map(|(_, (_, version))| version.number())),
    }
}

/// The columns of table `orders`. A new order has version 1 and was last changed
/// when it was made.
fn order_rows(writes: &Writes) -> Rows {
    let orders = &writes.orders;
    Rows::default()
        .uuid(orders.iter().map(|o| o.order_id.0))
        .text(orders.iter().map(|o| o.request_id.as_str()))
        .int(orders.iter().map(|o| orders::state_number(o.state)))
        .json(orders.iter().map(|o| orders::lines_json(o)))
        .text(orders.iter().map(|o| o.customer_ref.as_str()))
        .json(orders.iter().map(|o| orders::labels_json(o)))
        .int(orders.iter().map(|o| o.created.us()))
}

/// The columns of table `movement`, in ascending (sku, location, version).
fn movement_rows(writes: &Writes) -> Rows {
    let mut movements: Vec<_> = writes.movements.iter().collect();
    // Stable within a level: plan made its versions in ascending order.
    movements.sort_by(|a, b| a.key.cmp(&b.key));
    let movements = &movements;
    Rows::default()
        .text(movements.iter().map(|m| m.key.sku.as_str()))
        .text(movements.iter().map(|m| m.key.location.as_str()))
        .int(movements.iter().map(|m| m.version.number()))
        .int(movements.iter().map(|m| m.kind as i64))
        .int(movements.iter().map(|m| m.on_hand_delta))
        .int(movements.iter().map(|m| m.reserved_delta))
        .int(movements.iter().map(|m| m.on_hand))
        .int(movements.iter().map(|m| m.reserved))
        .int(movements.iter().map(|m| m.time.us()))
        .uuid(
            movements
                .iter()
                .map(|m| m.order_id.map_or(Uuid::nil(), |id| id.0)),
        )
        .text(
            movements
                .iter()
                .map(|m| m.request_id.as_ref().map_or("", RequestId::as_str)),
        )
        .text(movements.iter().map(|m| m.note.as_str()))
}

/// The columns of table `stock_level` and the version each row replaces.
fn level_rows(levels: &[&LevelWrite]) -> Rows {
    Rows::default()
        .text(levels.iter().map(|w| w.level.key.sku.as_str()))
        .text(levels.iter().map(|w| w.level.key.location.as_str()))
        .int(levels.iter().map(|w| w.level.on_hand))
        .int(levels.iter().map(|w| w.level.reserved))
        .int(levels.iter().map(|w| w.level.version.number()))
        .int(levels.iter().map(|w| w.level.low_stock_threshold))
        .int(levels.iter().map(|w| w.level.updated.us()))
        .int(levels.iter().map(|w| w.expected.number()))
}

/// Levels that get their first row, and levels whose row is replaced.
fn split_levels(writes: &Writes) -> (Vec<&LevelWrite>, Vec<&LevelWrite>) {
    writes
        .levels
        .iter()
        .partition(|write| write.expected == Version::NONE)
}
