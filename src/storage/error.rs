//! What can go wrong in the database, as facts that the engine acts on.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{DbErr, RuntimeErr, SqlxError};

use super::stock;
use crate::domain::LevelKey;

/// A failed read or transaction.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Rows changed since they were loaded; nothing was written.
    #[error("rows changed since they were loaded")]
    Conflict {
        /// Levels that are not at the expected version any more. Empty when only
        /// a request has been answered meanwhile, or when the database did not
        /// say which level it was.
        levels: Vec<LevelKey>,
    },
    /// The database could not be reached or could not take the work; nothing was written.
    #[error("the database is unavailable")]
    Unavailable(#[source] DbErr),
    /// The connection broke while COMMIT was under way: all was written or nothing.
    #[error("the outcome of the commit is unknown")]
    CommitUnknown(#[source] DbErr),
    /// The database refused a statement or gave an answer that makes no sense; nothing was written.
    #[error("the database {}", failure(.0))]
    Failed(#[source] DbErr),
}

impl StorageError {
    /// An answer of the database that the schema rules out.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Failed(DbErr::Custom(what.into()))
    }

    /// There was no connection to be had. Whatever the database says to that, as that the role
    /// may not log in, is of no statement and of no caller: a database that is away.
    pub(super) fn unconnected(error: SqlxError) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
    }

    /// Whether nobody was asked: there was no connection to be had.
    pub(super) fn is_without_connection(&self) -> bool {
        let Self::Unavailable(error) = self else {
            return false;
        };
        matches!(error, DbErr::ConnectionAcquire(_))
            || matches!(sqlx_error(error), Some(SqlxError::PoolTimedOut))
    }

    /// An error of what commits, COMMIT or a statement on its own: definite only if
    /// the database itself said no.
    pub(super) fn of_commit(self) -> Self {
        match self {
            Self::Unavailable(error) | Self::Failed(error) if !is_definite(&error) => {
                Self::CommitUnknown(error)
            }
            other => other,
        }
    }

    /// What the guard says, with the levels that it names.
    fn conflict(error: &SqlxError) -> Self {
        let database = error.as_database_error();
        let postgres = database.and_then(|e| e.try_downcast_ref::<PgDatabaseError>());
        let named = postgres
            .and_then(PgDatabaseError::detail)
            .and_then(|detail| serde_json::from_str::<Vec<[String; 2]>>(detail).ok());
        let levels = named.unwrap_or_default().into_iter();
        let levels = levels.filter_map(|[sku, location]| stock::key(&sku, &location).ok());
        Self::Conflict {
            levels: levels.collect(),
        }
    }
}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(error),
            DbErr::Exec(_) | DbErr::Query(_) => match sqlx_error(&error) {
                Some(cause) => match kind(cause) {
                    Kind::Conflict => Self::conflict(cause),
                    Kind::Unavailable => Self::Unavailable(error),
                    Kind::Failed => Self::Failed(error),
                },
                None => Self::Failed(error),
            },
            _ => Self::Failed(error),
        }
    }
}

impl From<SqlxError> for StorageError {
    fn from(error: SqlxError) -> Self {
        DbErr::Exec(RuntimeErr::SqlxError(error.into())).into()
    }
}

/// What the database did, as [`StorageError::corrupt`] has it or otherwise.
fn failure(error: &DbErr) -> &'static str {
    match error {
        DbErr::Custom(_) => "gave an answer that makes no sense",
        _ => "refused a statement",
    }
}

/// What it counts as that the database did not answer.
pub(super) fn silence(patience: Duration) -> DbErr {
    let silence = format!("no answer in {} ms", patience.as_millis());
    DbErr::Conn(RuntimeErr::Internal(silence))
}

/// Whether a lock was not to be had in time (lock_not_available), or only by a ring of those
/// who wait (deadlock_detected).
pub(super) fn is_locked_out(error: &DbErr) -> bool {
    let database = sqlx_error(error).and_then(SqlxError::as_database_error);
    let code = database.and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Whether the database said that the transaction is undone. One that is shut down
/// may have committed before it said so.
fn is_definite(error: &DbErr) -> bool {
    match sqlx_error(error) {
        Some(SqlxError::Database(e)) => {
            let code = e.code().unwrap_or_default();
            !(code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

fn sqlx_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(e))
        | DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

enum Kind {
    Conflict,
    Unavailable,
    Failed,
}

fn kind(error: &SqlxError) -> Kind {
    match error {
        SqlxError::Database(e) => {
            let code = e.code().unwrap_or_default();
            // SQLite gives numbers (https://sqlite.org/rescode.html), PostgreSQL five
            // characters (https://www.postgresql.org/docs/15/errcodes-appendix.html).
            if code.len() == 5 {
                postgres_kind(&code, e.constraint())
            } else {
                sqlite_kind(&code)
            }
        }
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Kind::Unavailable,
        _ => Kind::Failed,
    }
}

fn postgres_kind(code: &str, constraint: Option<&str>) -> Kind {
    match code {
        // serialization_failure, deadlock_detected.
        "40001" | "40P01" => Kind::Conflict,
        // unique_violation: the request has been answered.
        "23505" if constraint == Some("request_pkey") => Kind::Conflict,
        // read_only_sql_transaction (a standby), idle_in_transaction_session_timeout,
        // lock_not_available.
        "25006" | "25P03" | "55P03" => Kind::Unavailable,
        // connection exceptions, insufficient resources, operator intervention
        // (shutdown, statement_timeout), system errors (I/O).
        _ if ["08", "53", "57", "58"].contains(&&code[..2]) => Kind::Unavailable,
        _ => Kind::Failed,
    }
}

fn sqlite_kind(code: &str) -> Kind {
    // Extended codes carry the primary one in their low byte.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
        Ok(5 | 6 | 8 | 10 | 13 | 14) => Kind::Unavailable,
        _ => Kind::Failed,
    }
}
