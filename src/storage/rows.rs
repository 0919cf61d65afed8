//! Many values in a PostgreSQL statement whose text does not depend on how many: an
//! array for each column, to be joined by `unnest`. The text stays prepared and meets
//! no limit on parameters.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Statement, Value};

/// Columns to bind.
#[derive(Default)]
pub(super) struct Rows {
    columns: Vec<Value>,
}

impl Rows {
    pub(super) fn text<'a>(self, values: impl Iterator<Item = &'a str>) -> Self {
        self.column(ArrayType::String, values.map(Value::from))
    }

    pub(super) fn int(self, values: impl Iterator<Item = i64>) -> Self {
        self.column(ArrayType::BigInt, values.map(Value::from))
    }

    fn column(mut self, kind: ArrayType, values: impl Iterator<Item = Value>) -> Self {
        let array = Value::Array(kind, Some(Box::new(values.collect())));
        self.columns.push(array);
        self
    }

    /// The statement that carries them.
    pub(super) fn statement(self, backend: DbBackend, sql: impl Into<String>) -> Statement {
        Statement::from_sql_and_values(backend, sql, self.columns)
    }

    /// The statement that carries them, and single values after them.
    pub(super) fn statement_with(
        mut self,
        backend: DbBackend,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Statement {
        self.columns.extend(values);
        self.statement(backend, sql)
    }
}
