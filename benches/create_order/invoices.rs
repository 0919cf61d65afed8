//! How many lines real orders have: those of the sample in `data/`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/online_retail_10k.csv");

/// The columns that matter here.
#[derive(serde::Deserialize)]
struct Row {
    invoice_no: String,
    stock_code: String,
    quantity: i64,
}

impl Row {
    /// A line that `stockroom replay` sends in a CreateOrder: no return, no
    /// correction, and goods. In this file the codes of goods are those that
    /// begin with a digit; the others are postage, fees and the like.
    fn is_order_line(&self) -> bool {
        !self.invoice_no.starts_with('C')
            && self.quantity > 0
            && self
                .stock_code
                .starts_with(|first: char| first.is_ascii_digit())
    }
}

/// The number of lines of each of the sample's 438 orders, by invoice number.
///
/// # Errors
/// The sample cannot be read.
pub(crate) fn line_counts() -> anyhow::Result<Vec<usize>> {
    let mut reader = csv::Reader::from_path(Path::new(SAMPLE)).context(SAMPLE)?;
    let mut lines = BTreeMap::<String, usize>::new();
    for row in reader.deserialize() {
        let row: Row = row.context(SAMPLE)?;
        if row.is_order_line() {
            *lines.entry(row.invoice_no).or_default() += 1;
        }
    }
    Ok(lines.into_values().collect())
}
