//! Statements beneath SeaORM, whose builders would slow them down: of a pool or within a
//! transaction, on either database. Lists are given as arrays or as JSON, so that the text does
//! not depend on how long they are: it stays prepared and meets no limit on parameters.

use std::borrow::Cow;

use sea_orm::sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool, query};
use sea_orm::{DatabaseConnection, DbBackend, QueryResult};
use serde_json::{Value, json};

use super::pool::acquire;
use super::{StorageError, WriteTx};
use crate::domain::{LevelKey, OrderId, Version};

/// The pool that a pool of SeaORM is made of.
pub(super) enum RawPool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A statement, for either database. Both are given the same values.
#[derive(Clone, Copy)]
pub(super) struct RawStatement {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// A value. A list is an array for PostgreSQL and JSON for SQLite, each a parameter; one of rows
/// is an array for each column, to be joined by `unnest`, and JSON as well.
pub(super) enum RawValue<'v> {
    /// Rows of place in the list, SKU and location; in JSON the place is the key.
    Levels(&'v [LevelKey]),
    /// The same, with a version each.
    Versions(&'v [(LevelKey, Version)]),
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
    /// The rows that it gives on a connection of a pool.
    pub(super) async fn on(
        self,
        pool: &DatabaseConnection,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        if pool.get_database_backend() == DbBackend::Postgres {
            let mut connection = acquire(pool.get_postgres_connection_pool()).await?;
            self.on_postgres(&mut connection, values).await
        } else {
            let mut connection = acquire(pool.get_sqlite_connection_pool()).await?;
            self.on_sqlite(&mut connection, values).await
        }
    }

    pub(super) async fn on_postgres(
        self,
        connection: &mut PgConnection,
        values: &[RawValue<'_>],
    ) -> Result<Vec<QueryResult>, StorageError> {
        let mut statement = query(self.postgres);
        for value in values {
            statement = match value {
                RawValue::Levels(keys) => statement
                    .bind(column(0..keys.len() as i64))
                    .bind(column(keys.iter().map(|key| key.sku.as_str())))
                    .bind(column(keys.iter().map(|key| key.location.as_str()))),
                RawValue::Versions(rows) => statement
                    .bind(column(0..rows.len() as i64))
                    .bind(column(rows.iter().map(|(key, _)| key.sku.as_str())))
                    .bind(column(rows.iter().map(|(key, _)| key.location.as_str())))
                    .bind(column(rows.iter().map(|(_, version)| version.number()))),
                RawValue::Texts(texts) => statement.bind(texts),
                RawValue::Ids(ids) => statement.bind(column(ids.iter().map(|id| id.0))),
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
                RawValue::Levels(keys) => {
                    let rows = keys
                        .iter()
                        .map(|key| json!([key.sku.as_str(), key.location.as_str()]));
                    statement.bind(Value::from_iter(rows).to_string())
                }
                RawValue::Versions(rows) => {
                    let rows = rows.iter().map(|(key, version)| {
                        json!([key.sku.as_str(), key.location.as_str(), version.number()])
                    });
                    statement.bind(Value::from_iter(rows).to_string())
                }
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

fn column<T>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect()
}

/// An order's id as SQLite's `hex()` writes it, and as deadlines have it there.
pub(super) fn hex(id: &OrderId) -> String {
    format!("{:X}", id.0.simple())
}
