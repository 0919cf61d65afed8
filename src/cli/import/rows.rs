//! Reads rows and checks each by itself.

use std::ops::RangeInclusive;

use super::columns::{Columns, What};
use super::source::Bytes;
use crate::cli::sheet::bad::Problem;
use crate::cli::sheet::rows::Rows;
use crate::cli::sheet::{check_text, unguarded};
use crate::client::proto::adjust_stock_request::Change;
use crate::client::proto::{AdjustStockRequest, MovementKind, Product};
use crate::domain::{self, Adjustment, Location, Sku, StockLevel};

/// What a row asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Row {
    Product(Product),
    /// Without a `request_id`.
    Change(AdjustStockRequest),
}

impl Row {
    /// What no other row of the file may name; none where rows may repeat.
    pub(super) fn key(&self, what: What) -> Option<(&str, &str)> {
        match self {
            Self::Product(product) => Some((&product.sku, "")),
            Self::Change(change) if what == What::Levels => Some((&change.sku, &change.location)),
            Self::Change(_) => None,
        }
    }
}

/// A file while it is read.
pub(super) struct Table {
    rows: Rows<Bytes>,
    pub(super) columns: Columns,
    record: csv::ByteRecord,
}

/// A row, and the line that it begins on.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) line: u64,
    pub(super) row: Result<Row, Vec<Problem>>,
}

impl Table {
    /// Reads the header.
    ///
    /// # Errors
    /// It is none, or the file cannot be read.
    pub(super) fn open(bytes: Bytes) -> anyhow::Result<Self> {
        let (rows, columns) = Rows::open(bytes, Columns::of)?;
        Ok(Self {
            rows,
            columns,
            record: csv::ByteRecord::new(),
        })
    }

    /// The next row.
    ///
    /// # Errors
    /// The file cannot be read any further.
    pub(super) fn next(&mut self) -> Result<Option<Read>, Problem> {
        let Some(line) = self.rows.next(&mut self.record)? else {
            return Ok(None);
        };
        let mut cells = Cells {
            columns: &self.columns,
            record: &self.record,
            line,
            problems: Vec::new(),
        };
        let row = cells.row();
        let row = match row {
            Some(row) if cells.problems.is_empty() => Ok(row),
            _ => Err(cells.problems),
        };
        Ok(Some(Read { line, row }))
    }

    /// The file's digest, once its last row has been read.
    pub(super) fn digest(&self) -> String {
        self.rows.bytes().digest()
    }
}

/// The cells of a row while they are checked.
struct Cells<'r> {
    columns: &'r Columns,
    record: &'r csv::ByteRecord,
    line: u64,
    problems: Vec<Problem>,
}

impl<'r> Cells<'r> {
    fn row(&mut self) -> Option<Row> {
        let (cells, columns) = (self.record.len(), self.columns.count());
        if cells != columns {
            self.refuse("", format!("must have {columns} cells, has {cells}"));
            return None;
        }
        for (place, cell) in self.record.iter().enumerate() {
            if std::str::from_utf8(cell).is_err() {
                self.refuse(self.columns.name(place), "must be UTF-8".to_owned());
            }
        }
        match self.columns.what {
            What::Products => self.product().map(Row::Product),
            What::Levels => self.level().map(Row::Change),
            What::Adjustments => self.adjustment().map(Row::Change),
        }
    }

    fn product(&mut self) -> Option<Product> {
        let sku = self.sku();
        let display_name = self.limited("display_name", domain::Product::DISPLAY_NAME_BYTES_MAX);
        let thresholds = 0..=domain::Product::THRESHOLD_UNITS_MAX;
        let low_stock_threshold = self.number("low_stock_threshold", Some(0), thresholds);
        let limits = 0..=domain::Product::BACKORDER_UNITS_MAX;
        let backorder_limit = self.number("backorder_limit", Some(0), limits);
        Some(Product {
            sku: sku?,
            display_name,
            low_stock_threshold: low_stock_threshold?,
            backorder_limit: backorder_limit?,
        })
    }

    fn level(&mut self) -> Option<AdjustStockRequest> {
        let change = self.number(
            "on_hand",
            None,
            StockLevel::ON_HAND_MIN..=StockLevel::UNITS_MAX,
        );
        self.change(MovementKind::Count, change.map(Change::SetOnHand))
    }

    fn adjustment(&mut self) -> Option<AdjustStockRequest> {
        let max = Adjustment::DELTA_MAX;
        let delta = self.number("delta", None, -max..=max);
        if let Some(Err(why)) = delta.map(Adjustment::check_delta) {
            self.refuse("delta", why.to_string());
        }
        let kind = self.kind();
        self.change(kind.unwrap_or_default(), delta.map(Change::Delta))
    }

    fn change(&mut self, kind: MovementKind, change: Option<Change>) -> Option<AdjustStockRequest> {
        let sku = self.sku();
        let location = Location::new(self.text("location"));
        let location = location
            .map_err(|why| self.refuse("location", why.to_string()))
            .ok();
        let note = self.limited("note", Adjustment::NOTE_BYTES_MAX);
        Some(AdjustStockRequest {
            sku: sku?,
            location: location?.to_string(),
            change: Some(change?),
            kind: kind.into(),
            note,
            ..AdjustStockRequest::default()
        })
    }

    fn sku(&mut self) -> Option<String> {
        let text = self.text("sku");
        match Sku::new(text) {
            Ok(_) => Some(text.to_owned()),
            Err(why) => {
                self.refuse("sku", why.to_string());
                None
            }
        }
    }

    fn kind(&mut self) -> Option<MovementKind> {
        let text = self.text("kind").to_ascii_uppercase();
        let kind = MovementKind::from_str_name(&format!("MOVEMENT_KIND_{text}"));
        let kind = kind.unwrap_or_default();
        match domain::MovementKind::of_adjustment(kind.into()) {
            Ok(_) => Some(kind),
            Err(why) => {
                self.refuse("kind", why.to_string());
                None
            }
        }
    }

    /// The text of a cell; empty where there is none, or where it is no UTF-8, which has
    /// been told.
    fn text(&self, name: &str) -> &'r str {
        let cell = self.columns.cell(self.record, name).unwrap_or_default();
        unguarded(std::str::from_utf8(cell).unwrap_or_default())
    }

    fn limited(&mut self, name: &str, bytes_max: usize) -> String {
        let text = self.text(name);
        if let Err(why) = check_text(text, bytes_max) {
            self.refuse(name, why.to_string());
        }
        text.to_owned()
    }

    fn number(
        &mut self,
        name: &str,
        default: Option<i64>,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        let text = self.text(name);
        if text.is_empty() && default.is_some() {
            return default;
        }
        let (least, most) = (range.start(), range.end());
        match text.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.refuse(name, format!("must be {least} to {most}, is {text:?}"));
                None
            }
        }
    }

    fn refuse(&mut self, column: &str, why: String) {
        self.problems.push(Problem {
            line: self.line,
            column: column.to_owned(),
            why,
        });
    }
}
