//! Many rows in a statement whose text does not depend on how many.
//!
//! PostgreSQL takes an array for each column, to be joined by `unnest`: one
//! text, which stays prepared, and no limit on parameters to meet. SQLite takes
//! them as parameters of a VALUES list with one of three fixed lengths (reading
//! them out of JSON, as `json_each` would, took a third longer for an order).

use std::iter;

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Statement, Value};
use uuid::Uuid;

/// Where SQLite's texts want the rows.
const PLACE: &str = "{rows}";

/// Rows of one SQLite statement, largest first. 256 rows of the widest table
/// are 3,072 parameters; SQLite takes 32,766.
const SQLITE_ROWS: [usize; 3] = [256, 16, 1];

/// Rows to bind, built column by column. No value may be NULL, which
/// PostgreSQL's arrays could not carry through SeaORM: the SQL turns what stands
/// for nothing (an empty text, the nil UUID) into NULL.
#[derive(Default)]
pub(super) struct Rows {
    columns: Vec<(ArrayType, Vec<Value>)>,
}

impl Rows {
    pub(super) fn text<'a>(self, values: impl Iterator<Item = &'a str>) -> Self {
        self.column(ArrayType::String, values.map(Value::from))
    }

    pub(super) fn json(self, values: impl Iterator<Item = String>) -> Self {
        self.column(ArrayType::String, values.map(Value::from))
    }

    pub(super) fn int(self, values: impl Iterator<Item = i64>) -> Self {
        self.column(ArrayType::BigInt, values.map(Value::from))
    }

    pub(super) fn uuid(self, values: impl Iterator<Item = Uuid>) -> Self {
        self.column(ArrayType::Uuid, values.map(Value::from))
    }

    pub(super) fn bytes<'a>(self, values: impl Iterator<Item = &'a [u8]>) -> Self {
        self.column(
            ArrayType::Bytes,
            values.map(|bytes| Value::from(bytes.to_vec())),
        )
    }

    fn column(mut self, kind: ArrayType, values: impl Iterator<Item = Value>) -> Self {
        self.columns.push((kind, values.collect()));
        self
    }

    /// The statements that carry these rows; none when there are no rows. On
    /// PostgreSQL there is one.
    pub(super) fn statements(self, backend: DbBackend, sql: &str) -> Vec<Statement> {
        let rows = self.columns.first().map_or(0, |(_, values)| values.len());
        if rows == 0 {
            return Vec::new();
        }
        if backend == DbBackend::Postgres {
            let arrays = self
                .columns
                .into_iter()
                .map(|(kind, values)| Value::Array(kind, Some(Box::new(values))));
            return vec![Statement::from_sql_and_values(backend, sql, arrays)];
        }
        let width = self.columns.len();
        let mut columns: Vec<_> = self
            .columns
            .into_iter()
            .map(|(_, values)| values.into_iter())
            .collect();
        chunks(rows)
            .map(|rows| {
                let values = (0..rows * width).filter_map(|i| columns[i % width].next());
                let values: Vec<Value> = values.collect();
                let sql = sql.replace(PLACE, &placeholders(rows, width));
                Statement::from_sql_and_values(backend, sql, values)
            })
            .collect()
    }
}

/// `rows` as a sum of the fixed lengths, largest first.
fn chunks(mut rows: usize) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let chunk = SQLITE_ROWS.into_iter().find(|&chunk| chunk <= rows)?;
        rows -= chunk;
        Some(chunk)
    })
}

/// `(?,?),(?,?)`
fn placeholders(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![row; rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_statement_and_the_texts_are_few() {
        let rows = Rows::default().int(0..600).int(1_000..1_600);
        let statements = rows.statements(DbBackend::Sqlite, "VALUES {rows}");
        let texts: std::collections::HashSet<_> = statements.iter().map(|s| &s.sql).collect();
        assert!(texts.len() <= SQLITE_ROWS.len());
        let values = statements
            .iter()
            .flat_map(|s| s.values.iter().flat_map(|v| &v.0));
        let expected = (0..600_i64).flat_map(|i| [Value::from(i), Value::from(i + 1_000)]);
        assert_eq!(
            values.cloned().collect::<Vec<_>>(),
            expected.collect::<Vec<Value>>()
        );
    }
}
