//! Statements beneath SeaORM, whose builders would slow them down: of a pool or within a
//! transaction, on either database. A list is one parameter, so that the text does not
//! depend on how long it is: it stays prepared and meets no limit on parameters.

use std::borrow::Cow;

use sea_orm::QueryResult;
use sea_orm::sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool, query};
use serde_json::Value;

use super::{StorageError, WriteTx};
use crate::domain::OrderId;

/// The pool that a pool of SeaORM is made of.
pub(super) enum RawPool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A statement, for either database. The parameters of both are the same.
#[derive(Clone, Copy)]
pub(super) struct RawStatement {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// A parameter. A list is an array for PostgreSQL and JSON for SQLite.
pub(super) enum RawValue<'v> {
    Texts(Vec<Cow<'v, str>>),
    /// UUIDs; in JSON as [`hex`] has them.
    Ids(&'v [OrderId]),
    Number(i64),
}

impl<'v> RawValue<'v> {
    pub(super) fn texts(texts: impl Iterator<Item = impl Into<Cow<'v, str>>>) -> Self {
        Self::Texts(texts.map(Into::into).collect())
    }
}

impl RawStatement {
    pub(super) async fn on_postgres(
        self,
        connection: &mut PgConnection,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        let mut statement = query(self.postgres);
        for value in values {
            statement = match value {
                RawValue::Texts(texts) => statement.bind(texts),
                RawValue::Ids(ids) => statement.bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()),
                RawValue::Number(number) => statement.bind(number),
            };
        }
        let rows = statement.fetch_all(connection).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    pub(super) async fn on_sqlite(
        self,
        connection: &mut SqliteConnection,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        let mut statement = query(self.sqlite);
        for value in values {
            statement = match value {
                RawValue::Texts(texts) => {
                    statement.bind(Value::from_iter(texts.iter().map(|text| &**text)).to_string())
                }
                RawValue::Ids(ids) => {
                    statement.bind(Value::from_iter(ids.iter().map(hex)).to_string())
                }
                RawValue::Number(number) => statement.bind(number),
            };
        }
        let rows = statement.fetch_all(connection).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

impl WriteTx {
    /// The rows that a statement gives within the transaction.
    pub(super) async fn rows(
        &mut self,
        statement: RawStatement,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        match self {
            Self::Postgres(tx) => statement.on_postgres(tx, values).await,
            Self::Sqlite(tx) => statement.on_sqlite(tx, values).await,
        }
    }
}

/// An order's id as SQLite's `hex()` writes it, and as deadlines have it there.
pub(super) fn hex(id: &OrderId) -> String {
    format!("{:X}", id.0.simple())
}
