//! SQLite's log (WAL), and that it begins anew.
//!
//! It does when all of it has been copied into the database file and nobody reads from it
//! any more (<https://sqlite.org/wal.html#avoiding_excessively_large_wal_files>). Commits copy
//! what they can and wait for no reader, so while reads overlap there is always one in the
//! way, and the log would grow until the disk is full. A log that is long is therefore waited
//! for: with the only connection that writes, no commit makes it longer meanwhile, and whoever
//! begins to read what has been copied reads the database file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm::sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool, query_scalar, raw_sql};

use super::StorageError;
use super::connect::SQLITE_BUSY_TIMEOUT;
use super::pool::acquire;
use crate::error::chain;

/// Bytes of the log above which it is waited for: 128 MiB, twice of what it has when a commit
/// copies it. One that begins anew by itself stays below.
const LOG_BYTES_MAX: u64 = 128 << 20;

/// How long readers are waited for, in milliseconds; copying what is left comes on top. Reads
/// of a server take less. What takes longer, as a copy of the store, costs one commit this much
/// for each 128 MiB that the log grows meanwhile. Callers wait 2,000 for a connection.
const READERS_TIMEOUT_MS: u32 = 500;

/// The log of the file that this process writes.
#[derive(Debug)]
pub(super) struct Wal {
    file: PathBuf,
    /// The length above which it is waited for next.
    due_bytes: AtomicU64,
}

impl Wal {
    pub(super) fn of(database: &Path) -> Self {
        let mut file = database.as_os_str().to_owned();
        file.push("-wal");
        Self {
            file: file.into(),
            due_bytes: AtomicU64::new(LOG_BYTES_MAX),
        }
    }

    /// Has the log begin anew if it is long. `writer` is the pool of the one connection that
    /// writes.
    pub(super) async fn shorten(&self, writer: &SqlitePool) -> Result<(), StorageError> {
        if !self.is_long() {
            return Ok(());
        }
        let mut connection = acquire(writer).await?;
        // Unless somebody has done so while this one waited.
        if self.is_long() {
            let begins_anew = begin_anew(&mut connection).await;
            self.note(begins_anew);
        }
        Ok(())
    }

    fn is_long(&self) -> bool {
        self.bytes() > self.due_bytes.load(Ordering::Relaxed)
    }

    /// Its length now, which takes a microsecond to ask; 0 where there is none.
    fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// A fault here is no reason to refuse a commit, which has its own if it is one.
    fn note(&self, begins_anew: Result<bool, StorageError>) {
        let bytes = self.bytes();
        let due_bytes = match begins_anew {
            Ok(true) => LOG_BYTES_MAX,
            Ok(false) => {
                tracing::warn!(bytes, "long reads keep SQLite's log from beginning anew");
                bytes + LOG_BYTES_MAX
            }
            Err(error) => {
                tracing::warn!(
                    bytes,
                    error = chain(&error),
                    "SQLite's log cannot begin anew"
                );
                bytes + LOG_BYTES_MAX
            }
        };
        self.due_bytes.store(due_bytes, Ordering::Relaxed);
    }
}

/// Copies all of the log, flushed as every copy is, and cuts it off. False when a reader
/// was in the way for too long.
async fn begin_anew(connection: &mut SqliteConnection) -> Result<bool, StorageError> {
    wait_for_locks(connection, READERS_TIMEOUT_MS.into()).await?;
    let busy = query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").persistent(false);
    let busy: Result<i64, _> = busy.fetch_one(&mut *connection).await;
    wait_for_locks(connection, SQLITE_BUSY_TIMEOUT.as_millis()).await?;
    Ok(busy? == 0)
}

async fn wait_for_locks(
    connection: &mut SqliteConnection,
    timeout_ms: u128,
) -> Result<(), StorageError> {
    let set = format!("PRAGMA busy_timeout = {timeout_ms}");
    raw_sql(AssertSqlSafe(set)).execute(connection).await?;
    Ok(())
}
