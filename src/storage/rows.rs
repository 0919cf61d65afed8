//! Many rows in one statement whose text never changes.
//!
//! PostgreSQL takes an array for each column, to be joined by `unnest`; SQLite
//! takes one JSON array of rows, to be read by `json_each`. Either way the text
//! is the same for one row and for a thousand, so that it stays prepared, and
//! no limit on the number of parameters is met.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Value};
use uuid::Uuid;

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

    /// The parameters of a statement for `backend`.
    pub(super) fn bind(self, backend: DbBackend) -> Vec<Value> {
        if backend == DbBackend::Postgres {
            self.columns
                .into_iter()
                .map(|(kind, values)| Value::Array(kind, Some(Box::new(values))))
                .collect()
        } else {
            vec![Value::from(self.to_json())]
        }
    }

    /// `[[column 1, column 2, …], …]`; bytes and UUIDs as hex for `unhex`.
    fn to_json(&self) -> String {
        use std::fmt::Write as _;

        let rows = self.columns.first().map_or(0, |(_, values)| values.len());
        let mut json = String::with_capacity(2 + rows * self.columns.len() * 16);
        json.push('[');
        for row in 0..rows {
            json.push_str(if row == 0 { "[" } else { ",[" });
            for (i, (_, values)) in self.columns.iter().enumerate() {
                if i > 0 {
                    json.push(',');
                }
                // Writing to a String cannot fail.
                let _ = match &values[row] {
                    Value::BigInt(Some(n)) => write!(json, "{n}"),
                    Value::Uuid(Some(id)) => write!(json, "\"{}\"", id.simple()),
                    Value::Bytes(Some(bytes)) => {
                        json.push('"');
                        for byte in bytes {
                            let _ = write!(json, "{byte:02x}");
                        }
                        json.push('"');
                        Ok(())
                    }
                    Value::String(Some(text)) => {
                        json.push_str(&serde_json::Value::from(text.as_str()).to_string());
                        Ok(())
                    }
                    other => unreachable!("rows are built from the four kinds above: {other:?}"),
                };
            }
            json.push(']');
        }
        json.push(']');
        json
    }
}
