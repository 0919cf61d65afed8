//! Whether the database is there, asked on a connection that is used for nothing else.
//!
//! Asked among the reads, it would wait for them: where these have every connection for
//! a while, a database that is busy would pass for one that is away. What a connection
//! of the readers' tells of the database it has come to, this one tells as well.

use std::time::Duration;

use sea_orm::error::ConnAcquireErr;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{DatabaseConnection, DbErr};
use tokio::time::timeout;
use uuid::Uuid;

use super::error::silence;
use super::raw::RawPool;
use super::{SchemaState, StorageError, Store};

/// A way to ask.
#[derive(Debug)]
pub struct Presence {
    store: Store,
    /// What a question may take.
    patience: Duration,
    /// A pool of one. None before the first question, and after an outage: what is waited
    /// for there may never come.
    connection: Option<DatabaseConnection>,
}

impl Store {
    /// A way to ask whether the database is there, within `patience` each time. Connects
    /// when it is first used, and again after a failure.
    pub fn presence(&self, patience: Duration) -> Presence {
        Presence {
            store: self.clone(),
            patience,
            connection: None,
        }
    }
}

impl Presence {
    /// As [`Store::schema_state`].
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn schema_state(&mut self) -> Result<SchemaState, StorageError> {
        self.ask(async |_, connection| Store::schema_state_on(&connection).await)
            .await
    }

    /// As [`Store::store_id`].
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn store_id(&mut self) -> Result<Uuid, StorageError> {
        self.ask(async |store: Store, connection| store.store_id_on(&connection).await)
            .await
    }

    async fn ask<T>(
        &mut self,
        question: impl AsyncFn(Store, DatabaseConnection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(),
        };
        loop {
            let asked = question(self.store.clone(), connection.clone());
            match timeout(self.patience, asked).await {
                // The readers of a file have all of its connections: it is not away.
                Ok(Err(error)) if !self.store.is_shared() && is_busy(&error) => {}
                Ok(answer) => {
                    // One that failed to connect in time may have lost its only place: sqlx
                    // does not give it back when the database is silent meanwhile.
                    if !matches!(answer, Err(StorageError::Unavailable(_))) {
                        self.connection = Some(connection);
                    }
                    return answer;
                }
                Err(_) => return Err(StorageError::Unavailable(silence(self.patience))),
            }
        }
    }

    fn connect(&self) -> DatabaseConnection {
        match self.store.readers.raw() {
            RawPool::Postgres(pool) => {
                let options = PgConnectOptions::clone(&pool.connect_options());
                let options = options.application_name("stockroom health");
                let alone = pool.options().clone().max_connections(1);
                alone.connect_lazy_with(options).into()
            }
            // Another connection would have to be closed before the store is.
            RawPool::Sqlite(_) => self.store.readers(),
        }
    }
}

/// Whether all connections were taken for as long as one is waited for.
fn is_busy(error: &StorageError) -> bool {
    let StorageError::Unavailable(DbErr::ConnectionAcquire(why)) = error else {
        return false;
    };
    matches!(why, ConnAcquireErr::Timeout)
}
