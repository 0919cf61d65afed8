//! A connection to PostgreSQL that does one kind of work and is in nobody's way.
//!
//! Promises that work on it ends in bounded time, and that a connection whose answer is
//! outstanding is never used again: what fails, takes too long or is dropped half-way
//! takes its connection with it, and the next work begins on a new one.

use std::io::ErrorKind;
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

use super::Store;
use super::raw::RawPool;

/// Such a connection.
#[derive(Debug)]
pub(super) struct OwnConnection {
    options: PgConnectOptions,
    /// What connecting and the work may take together.
    patience: Duration,
    /// None before the first work, during each, and after one that failed.
    connection: Option<PgConnection>,
}

impl Store {
    /// How to make a connection of one's own, by what PostgreSQL's views shall call it;
    /// none on SQLite.
    pub(super) fn own_options(&self, name: &str) -> Option<PgConnectOptions> {
        match self.readers.raw() {
            RawPool::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.connect_options());
                Some(options.application_name(name))
            }
            RawPool::Sqlite(_) => None,
        }
    }
}

impl OwnConnection {
    /// Connects when it is first used.
    pub(super) fn new(options: PgConnectOptions, patience: Duration) -> Self {
        let connection = None;
        Self {
            options,
            patience,
            connection,
        }
    }

    /// Does `work`, and connects first if need be.
    ///
    /// # Errors
    /// Those of `work`, and of connecting; an I/O error when it takes too long.
    pub(super) async fn work<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, SqlxError>,
    ) -> Result<T, SqlxError> {
        let connection = self.connection.take();
        let done = in_time(self.patience, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => self.options.connect().await?,
            };
            let done = work(&mut connection).await?;
            Ok((done, connection))
        });
        let (done, connection) = done.await?;
        self.connection = Some(connection);
        Ok(done)
    }

    /// The connection that the last work was done on, if it succeeded.
    pub(super) fn into_connection(self) -> Option<PgConnection> {
        self.connection
    }
}

/// Does `work`; an I/O error when it takes longer than `patience`.
pub(super) async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, SqlxError>>,
) -> Result<T, SqlxError> {
    let silent = |_| SqlxError::Io(ErrorKind::TimedOut.into());
    timeout(patience, work).await.map_err(silent)?
}
