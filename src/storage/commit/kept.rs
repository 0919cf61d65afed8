//! A transaction on PostgreSQL, on a connection that is kept between commits.
//!
//! Promises that a connection is kept only when the database has said that its transaction
//! is over. In any other state it is closed, which ends the transaction as well.

use std::ops::{Deref, DerefMut};

use sea_orm::sqlx::{PgConnection, raw_sql};

use super::super::error::StorageError;
use super::super::pool::KeptConnection;

/// An open transaction. Begun and ended beneath sqlx, whose transactions do not give their
/// connection back.
#[derive(Debug)]
pub struct KeptTransaction(Option<KeptConnection>);

impl KeptTransaction {
    pub(super) async fn begin(connection: KeptConnection) -> Result<Self, StorageError> {
        // First of all: whoever gives up on a BEGIN does not know what became of it.
        let mut begun = Self(Some(connection));
        raw_sql("BEGIN").execute(&mut *begun).await?;
        Ok(begun)
    }

    pub(super) async fn commit(self) -> Result<(), StorageError> {
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<(), StorageError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), StorageError> {
        raw_sql(how).execute(&mut *self).await?;
        if let Some(connection) = self.0.take() {
            connection.keep();
        }
        Ok(())
    }
}

const OPEN: &str = "only its end takes the connection, and consumes the transaction";

impl Deref for KeptTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0.as_ref().expect(OPEN).connection
    }
}

impl DerefMut for KeptTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0.as_mut().expect(OPEN).connection
    }
}

impl Drop for KeptTransaction {
    fn drop(&mut self) {
        if let Some(mut left) = self.0.take() {
            left.connection.close_on_drop();
        }
    }
}
