//! Many rows in a statement whose text does not depend on how many.
//!
//! PostgreSQL takes an array for each column, to be joined by `unnest`: one
//! text, which stays prepared, and no limit on parameters to meet. SQLite takes
//! a VALUES list that is filled up with rows of NULL to the next power of two,
//! so that it has a dozen texts and needs one statement, not one for each part
//! of a batch: every statement is a trip to SQLite's own thread and back.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Statement, Value};
use uuid::Uuid;

/// Where SQLite's texts want the rows.
const PLACE: &str = "{rows}";

/// Most rows of one SQLite statement. Those of the widest table are 24,576
/// parameters; SQLite takes 32,766.
const SQLITE_ROWS_MAX: usize = 2_048;

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
            .map(|(kind, values)| (null_of(&kind), values.into_iter()))
            .collect();
        let mut statements = Vec::new();
        for begin in (0..rows).step_by(SQLITE_ROWS_MAX) {
            let length = (rows - begin).min(SQLITE_ROWS_MAX).next_power_of_two();
            let values = (0..length * width).map(|i| {
                let (null, column) = &mut columns[i % width];
                column.next().unwrap_or_else(|| null.clone())
            });
            let values: Vec<Value> = values.collect();
            let sql = sql.replace(PLACE, &placeholders(length, width));
            statements.push(Statement::from_sql_and_values(backend, sql, values));
        }
        statements
    }
}

/// NULL of a column's kind.
fn null_of(kind: &ArrayType) -> Value {
    match kind {
        ArrayType::BigInt => Value::BigInt(None),
        ArrayType::Bytes => Value::Bytes(None),
        ArrayType::Uuid => Value::Uuid(None),
        _ => Value::String(None),
    }
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
    fn every_row_is_in_one_statement_and_the_rest_is_null() {
        let rows = Rows::default().int(0..600).int(1_000..1_600);
        let statements = rows.statements(DbBackend::Sqlite, "VALUES {rows}");
        let [statement] = &statements[..] else {
            panic!("{} statements", statements.len());
        };
        let values = &statement.values.as_ref().expect("has values").0;
        let expected = (0..600_i64).flat_map(|i| [Value::from(i), Value::from(i + 1_000)]);
        assert_eq!(values[..1_200], expected.collect::<Vec<Value>>());
        assert_eq!(values.len(), 2_048);
        assert!(
            values[1_200..]
                .iter()
                .all(|value| *value == Value::BigInt(None))
        );
    }

    #[test]
    fn rows_beyond_what_a_statement_takes_go_into_another() {
        let rows = Rows::default().int(0..SQLITE_ROWS_MAX as i64 + 1);
        let statements = rows.statements(DbBackend::Sqlite, "VALUES {rows}");
        let lengths = statements
            .iter()
            .map(|s| s.values.as_ref().map_or(0, |v| v.0.len()));
        assert_eq!(lengths.collect::<Vec<_>>(), [SQLITE_ROWS_MAX, 1]);
    }
}
