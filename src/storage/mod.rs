//! The database: what is durable.
//!
//! Owns every connection, every SQL text and the schema. Promises that a
//! [`WriteTx`] stores all of its [`Writes`](crate::domain::Writes) or nothing, and only if every level is
//! still at the version that it was planned on. Leaves all decisions to the
//! engine. Nothing outside this module names `sea_orm`.

mod books;
mod changes;
mod commit;
mod connect;
mod entity;
mod error;
mod hints;
mod holds;
mod incarnation;
mod leader;
mod ledger;
mod ledger_time;
mod level_list;
mod order_list;
mod orders;
mod outbox;
mod own;
mod pool;
mod presence;
mod products;
mod raw;
mod replicas;
mod schema;
mod stock;
mod wal;

pub use books::{Books, Imbalance, LevelFaults};
pub use changes::ChangesPage;
/// What the guards say to PostgreSQL, for the bench's client that says the same with nothing
/// before it.
#[doc(hidden)]
pub use commit::{COMMIT_BATCH, LOCK_LEVELS, TAKE};
pub use commit::{Guard, Verdict, WriteTx};
pub use error::StorageError;
pub use hints::{HINT_BYTES_MAX, HintListener, HintSender, Hints};
pub use holds::{ExpiredHold, HeldLevels};
pub use leader::{Lead, Leadership, Role};
pub use ledger::MovementPage;
pub use ledger_time::{TimePage, TimePlace};
pub use level_list::{LevelFilter, LevelPiece, StockPage};
pub use order_list::{OrderFilter, OrderPage, OrderPlace};
pub use orders::{OrderParts, ReadOrder};
pub use outbox::{Backlog, Outbox, OutboxRow, Room};
pub use pool::PoolUsage;
pub use presence::Presence;
pub use products::ProductPage;
pub use replicas::{Moment, ReplicaStatus};
pub use schema::SchemaState;

use std::fs::File;
use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, QueryResult, Statement};

use self::incarnation::Incarnation;
use self::pool::Pool;
use self::replicas::Replicas;
use self::wal::Wal;

/// A handle on the store; clones share the pools.
#[derive(Clone, Debug)]
pub struct Store {
    /// Takes what is read for commits, outside of their transactions, and takes old deadlines
    /// away: a connection is served by the runtime that opened it, which shall be the
    /// engine's. On SQLite a single connection, since it has one writer; on PostgreSQL no
    /// commit takes it.
    writer: Pool,
    /// Takes all commits, and keeps its connections between them. On SQLite the same as `writer`.
    committers: Pool,
    /// Takes the reads.
    readers: Pool,
    /// Which database it is.
    incarnation: Incarnation,
    /// Take reads that may be older than now.
    replicas: Option<Arc<Replicas>>,
    /// SQLite's log, of a file that is written.
    wal: Option<Arc<Wal>>,
    /// Keeps `<db>.lock` locked while any clone lives. None on PostgreSQL, and where a file is
    /// only read.
    _lock: Option<Arc<File>>,
}

/// What a process opens a store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To write. On SQLite one process at a time.
    Write,
    /// To look: beside a server, never in its way.
    Read,
}

impl Store {
    fn backend(&self) -> DbBackend {
        self.writer().get_database_backend()
    }

    fn writer(&self) -> DatabaseConnection {
        self.writer.connection()
    }

    fn readers(&self) -> DatabaseConnection {
        self.readers.connection()
    }

    /// The rows that a statement gives. Reads the primary.
    async fn rows(&self, statement: Statement) -> Result<Vec<QueryResult>, StorageError> {
        let read = async { Ok(self.readers().query_all_raw(statement).await?) };
        self.readers.bounded(read).await
    }

    /// How the connections for commits are used, and those for reads.
    pub fn pools(&self) -> (PoolUsage, PoolUsage) {
        let commits = self.committers.usage();
        let others = if self.is_shared() {
            self.writer.usage()
        } else {
            PoolUsage::default()
        };
        let writer = PoolUsage {
            in_use: commits.in_use + others.in_use,
            idle: commits.idle + others.idle,
            waiting: commits.waiting + others.waiting,
        };
        (writer, self.readers.usage())
    }

    /// Whether other processes can write to the same database. SQLite cannot be
    /// shared, and has one writer even within a process.
    pub fn is_shared(&self) -> bool {
        self.backend() == DbBackend::Postgres
    }

    /// How the replicas are now, in the order of the configuration, and what happened
    /// since the last call: for one task that counts.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        let replicas = self.replicas.as_ref();
        replicas.map_or_else(Vec::new, |replicas| replicas.status())
    }

    /// How many replicas the configuration has.
    pub fn replica_count(&self) -> usize {
        self.replicas
            .as_ref()
            .map_or(0, |replicas| replicas.count())
    }

    /// Waits until the database turns out to be another one than it was: promoted,
    /// restored, or with another `store_id`. From then on nothing that is remembered of
    /// it may be used, and new connections are refused: open it anew.
    pub async fn becomes_another(&self) {
        self.incarnation.changed().await;
    }

    /// Closes the pools; waits for what is under way.
    pub async fn close(self) {
        if let Some(replicas) = &self.replicas {
            replicas.close().await;
        }
        self.readers.close().await;
        self.committers.close().await;
        self.writer.close().await;
    }
}
