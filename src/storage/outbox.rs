//! The outbox as the relay sees it: rows to send, and rows to delete.
//!
//! Owns a connection of its own on PostgreSQL, made anew after each failure: the relay
//! works on a thread of its own, and its statements stand in nobody's way. What it
//! deletes need not be on disk at once: a row that comes back is sent again, no more.

use std::time::Duration;

use sea_orm::sqlx::{SqlitePool, query, query_as};

use super::own::OwnConnection;
use super::{StorageError, Store};
use crate::domain::Timestamp;

/// How long connecting or a statement may take, each of which takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Deletes `$1` and takes the lowest rows that are not among `$2`, up to `$3` of them
/// and until they have `$4` bytes. The SELECT sees the table as it was before the DELETE.
/// `octet_length` of a body that lies out of line reads its pointer alone.
const TAKE_POSTGRES: &str = "\
WITH sent AS (DELETE FROM outbox WHERE outbox_id = ANY ($1))
SELECT outbox_id, created_us, body
FROM (SELECT outbox_id, created_us, body,
             sum(octet_length(body)) OVER (ORDER BY outbox_id) - octet_length(body) AS before
      FROM (SELECT outbox_id, created_us, body FROM outbox
            WHERE outbox_id <> ALL ($2) ORDER BY outbox_id LIMIT $3) AS lowest) AS counted
WHERE before < $4
ORDER BY outbox_id";

const TAKE_SQLITE: &str = "\
SELECT outbox_id, created_us, body
FROM (SELECT outbox_id, created_us, body,
             sum(length(body)) OVER (ORDER BY outbox_id) - length(body) AS before
      FROM (SELECT outbox_id, created_us, body FROM outbox
            WHERE outbox_id NOT IN (SELECT value FROM json_each($1)) ORDER BY outbox_id LIMIT $2))
WHERE before < $3
ORDER BY outbox_id";

const DELETE_SQLITE: &str =
    "DELETE FROM outbox WHERE outbox_id IN (SELECT value FROM json_each($1))";

/// The rows up to `$1` of them, and when the oldest was committed. Their ids do not say how
/// many they are: one row may stay for days while millions behind it come and go.
const BACKLOG: &str = "\
SELECT (SELECT count(*) FROM (SELECT outbox_id FROM outbox ORDER BY outbox_id LIMIT $1) AS counted),
       (SELECT created_us FROM outbox ORDER BY outbox_id LIMIT 1)";

/// Rows that are counted: each instance does so each second, and these take a few
/// milliseconds of PostgreSQL, or some twenty of SQLite, which has the bodies beside the ids.
const BACKLOG_ROWS_MAX: i64 = 10_000;

/// The events of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Rises with the versions of each level.
    pub id: i64,
    /// When it was committed.
    pub created: Timestamp,
    /// As `events` encodes them.
    pub body: Vec<u8>,
}

/// How much is in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Rows, counted up to 10,000.
    pub rows: i64,
    /// When the oldest was committed.
    pub oldest: Option<Timestamp>,
}

/// How much is to be taken at a time.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Rows.
    pub rows: usize,
    /// Bytes of bodies; one row is taken even if it has more.
    pub bytes: usize,
}

/// A way to the outbox.
#[derive(Debug)]
pub struct Outbox {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Postgres(Box<OwnConnection>),
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
}

impl Store {
    /// The outbox of this store. Connects when it is first used.
    pub fn outbox(&self) -> Outbox {
        let way = match self.own_options("stockroom relay") {
            Some(options) => {
                let options = options.options([("synchronous_commit", "off")]);
                Way::Postgres(Box::new(OwnConnection::new(options, ANSWER_TIMEOUT)))
            }
            None => Way::Sqlite {
                readers: self.readers().get_sqlite_connection_pool().clone(),
                writer: self.writer().get_sqlite_connection_pool().clone(),
            },
        };
        Outbox { way }
    }
}

impl Outbox {
    /// Deletes the rows `sent`, and takes the lowest that are neither among them nor
    /// `busy`, in ascending order.
    ///
    /// # Errors
    /// The database failed; rows may have been deleted.
    pub async fn take(
        &mut self,
        sent: &[i64],
        busy: &[i64],
        room: Room,
    ) -> Result<Vec<OutboxRow>, StorageError> {
        let rows_max = i64::try_from(room.rows).unwrap_or(i64::MAX);
        let bytes_max = i64::try_from(room.bytes).unwrap_or(i64::MAX);
        let left_out = [sent, busy].concat();
        let rows: Vec<(i64, i64, Vec<u8>)> = match &mut self.way {
            Way::Postgres(connection) => {
                let take = query_as(TAKE_POSTGRES)
                    .bind(sent)
                    .bind(left_out)
                    .bind(rows_max)
                    .bind(bytes_max);
                let taken = connection.work(async |on| take.fetch_all(on).await);
                taken.await?
            }
            Way::Sqlite { readers, writer } => {
                if !sent.is_empty() {
                    let statement = query(DELETE_SQLITE).bind(json(sent));
                    statement.execute(&*writer).await?;
                }
                if room.rows == 0 {
                    return Ok(Vec::new());
                }
                query_as(TAKE_SQLITE)
                    .bind(json(&left_out))
                    .bind(rows_max)
                    .bind(bytes_max)
                    .fetch_all(&*readers)
                    .await?
            }
        };
        let row = |(id, created_us, body)| OutboxRow {
            id,
            created: Timestamp::from_us(created_us),
            body,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// How much is in it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn backlog(&mut self) -> Result<Backlog, StorageError> {
        let (rows, oldest): (i64, Option<i64>) = match &mut self.way {
            Way::Postgres(connection) => {
                let count = query_as(BACKLOG).bind(BACKLOG_ROWS_MAX);
                let counted = connection.work(async |on| count.fetch_one(on).await);
                counted.await?
            }
            Way::Sqlite { readers, .. } => {
                let counted = query_as(BACKLOG).bind(BACKLOG_ROWS_MAX);
                counted.fetch_one(&*readers).await?
            }
        };
        Ok(Backlog {
            rows,
            oldest: oldest.map(Timestamp::from_us),
        })
    }
}

fn json(ids: &[i64]) -> String {
    serde_json::Value::from_iter(ids.iter().copied()).to_string()
}
