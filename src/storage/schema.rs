//! The schema's steps and how far a database has come.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, raw_sql};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, SqlxError};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager, async_trait};
use tokio::time::timeout;
use tokio_retry::RetryIf;
use tokio_retry::strategy::FixedInterval;
use uuid::Uuid;

use super::entity::store;
use super::error::is_locked_out;
use super::raw::RawPool;
use super::{StorageError, Store};
use crate::clock;
use crate::error::chain;

/// "stockroo" in ASCII, as much of the name as there is room for: the advisory lock that migrations hold on PostgreSQL.
const MIGRATION_LOCK: i64 = 0x73746f636b726f6f;

/// Time to connect for that lock.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a step runs, in the middle of a session that is set up for look-ups.
///
/// It waits two seconds for each table at most. Whoever comes to the table meanwhile waits
/// behind it, servers that sell with all they do: a dump or a report that is reading would
/// stop them for as long as it reads. They wait for five (`store.statement_timeout_ms`). A
/// vacuum of PostgreSQL's own makes way only after one (`deadlock_timeout`).
///
/// A step over a large table may take longer than any statement of the service, and reads it
/// from end to end: the planner has back what is switched off for the service.
const SETTINGS: &str = "\
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '2s';
SET LOCAL enable_seqscan = on;
SET LOCAL enable_bitmapscan = on;
SET LOCAL enable_hashjoin = on;
SET LOCAL enable_mergejoin = on;
SET LOCAL max_parallel_workers_per_gather = 2";

/// Time after which a step that could not have a table is tried again: servers work off what
/// has queued behind it.
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// How often, which makes an hour of pauses, as long as a dump of a large database takes, and
/// two seconds and more for each try. Then it fails with what the database says; a step that was
/// not done is as if never begun.
const LOCK_RETRIES_MAX: usize = 720;

/// One step: its name and its SQL for each store.
struct Step {
    name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

macro_rules! step {
    ($name:literal) => {
        Step {
            name: $name,
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
        }
    };
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(step!("0001_initial")),
            Box::new(step!("0002_commit_batch")),
            Box::new(step!("0003_outbox")),
            Box::new(step!("0004_order_lists")),
            Box::new(step!("0005_holds")),
            Box::new(step!("0006_several_movements")),
            Box::new(step!("0007_movements_by_time")),
            Box::new(step!("0008_deleted_products")),
            Box::new(step!("0009_backorder")),
            Box::new(step!("0010_room_for_changes")),
            Box::new(step!("0011_hold_deadlines")),
            Box::new(step!("0012_levels_by_location")),
        ]
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

impl Step {
    fn say_if_locked_out(&self, error: &DbErr) {
        if is_locked_out(error) {
            tracing::warn!(
                step = self.name,
                error = chain(error),
                "waiting for a table that another session uses: in pg_stat_activity the oldest xact_start but for `stockroom migrate`"
            );
        }
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared(SETTINGS).await?;
            let done = connection.execute_unprepared(self.postgres).await;
            let done = done.inspect_err(|error| self.say_if_locked_out(error));
            done?;
        } else {
            connection.execute_unprepared(self.sqlite).await?;
        }
        Ok(())
    }

    /// In one transaction on either store: a step is done or not begun.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// How far a database's schema is from what this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// All steps are done.
    Current,
    /// This many steps are missing: `stockroom migrate` does them.
    Behind(usize),
    /// It has steps that this program does not know, so this program must not touch it.
    Unknown(String),
}

impl Store {
    /// How far the schema is. Needs no right to change it.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn schema_state(&self) -> Result<SchemaState, StorageError> {
        let readers = self.readers();
        self.readers.bounded(Self::schema_state_on(&readers)).await
    }

    pub(super) async fn schema_state_on(
        connection: &DatabaseConnection,
    ) -> Result<SchemaState, StorageError> {
        match Migrator::get_pending_migrations_read_only(connection).await {
            Ok(pending) if pending.is_empty() => Ok(SchemaState::Current),
            Ok(pending) => Ok(SchemaState::Behind(pending.len())),
            Err(DbErr::Custom(unknown)) => Ok(SchemaState::Unknown(unknown)),
            Err(other) => Err(other.into()),
        }
    }

    /// Does the missing steps and returns how many there were. Two that run at
    /// once wait for each other, and a step waits for whoever has its tables, for over an
    /// hour and not for ever.
    ///
    /// # Errors
    /// The database cannot be reached or refuses a step.
    pub async fn migrate(&self) -> Result<usize, StorageError> {
        let options = match self.writer.raw() {
            // By its name operators see that it is not what a step waits for.
            RawPool::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.connect_options());
                options.application_name("stockroom migrate")
            }
            // The lock file keeps every other process out.
            RawPool::Sqlite(_) => return self.migrate_locked().await,
        };
        // The lock belongs to a transaction of its own: it ends with it, whatever happens. On a
        // connection of its own, too, since the steps may have the only one of their pool.
        let connecting = timeout(CONNECT_TIMEOUT, options.connect());
        let connected = connecting.await.map_err(|_| SqlxError::PoolTimedOut)?;
        let mut lock = connected.map_err(StorageError::unconnected)?;
        let take = format!(
            "BEGIN; \
             SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL statement_timeout = 0; \
             SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        );
        raw_sql(AssertSqlSafe(take)).execute(&mut lock).await?;
        let done = self.migrate_locked().await;
        lock.close().await?;
        done
    }

    /// SQLite has one writer; PostgreSQL's connections for that are the engine's.
    fn migrating(&self) -> DatabaseConnection {
        if self.is_shared() {
            self.readers()
        } else {
            self.writer()
        }
    }

    async fn migrate_locked(&self) -> Result<usize, StorageError> {
        let connection = self.migrating();
        let pending = Migrator::get_pending_migrations(&connection).await?.len();
        let pauses = FixedInterval::new(LOCK_PAUSE).take(LOCK_RETRIES_MAX);
        // What has been done stays done.
        let up = || Migrator::up(&connection, None);
        RetryIf::start(pauses, up, is_locked_out).await?;
        Ok(pending)
    }

    /// Gives the store a new id, after a restore or a failover that lost commits: what
    /// anybody has seen of its versions until now counts no more. Returns both ids.
    ///
    /// # Errors
    /// The database cannot be reached, or has no schema.
    pub async fn renew_store_id(&self) -> Result<(Uuid, Uuid), StorageError> {
        let old = self.store_id().await?;
        let new = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let renewed = store::Entity::update_many()
            .col_expr(store::Column::StoreId, new.into())
            .col_expr(store::Column::CreatedUs, clock::now().us().into())
            .exec(&self.migrating())
            .await?;
        match renewed.rows_affected {
            1 => Ok((old, new)),
            _ => Err(StorageError::corrupt("table store has not one row")),
        }
    }

    /// The store's id: a new one after a restore that lost commits.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn store_id(&self) -> Result<Uuid, StorageError> {
        let readers = self.readers();
        self.readers.bounded(self.store_id_on(&readers)).await
    }

    pub(super) async fn store_id_on(
        &self,
        connection: &DatabaseConnection,
    ) -> Result<Uuid, StorageError> {
        let row = store::Entity::find().one(connection).await?;
        let row = row.ok_or_else(|| StorageError::corrupt("table store is empty"))?;
        self.incarnation.meet_store(row.store_id);
        Ok(row.store_id)
    }
}
