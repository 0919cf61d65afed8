//! Files of products, levels and movements: their columns, and how a text stands in a cell.
//! With it how any file is read and how its bad rows are told, which `replay` shares.
//!
//! `stockroom export` writes these files and `stockroom import` reads them. A text that a
//! spreadsheet would take for a formula gets an apostrophe before it, which shows there as
//! the text alone and keeps a name from being run; importing takes it off again, so that
//! nothing is lost on the way.

pub(super) mod bad;
pub(super) mod rows;

use std::borrow::Cow;

use crate::domain::{Invalid, text_faults};

/// What a product has.
pub(super) const PRODUCTS: &[&str] = &[
    "sku",
    "display_name",
    "low_stock_threshold",
    "backorder_limit",
];

/// What a level has. Importing sets `on_hand`; the columns after it follow from what
/// happens to the level and cannot be set.
pub(super) const LEVELS: &[&str] = &[
    "sku",
    "location",
    "on_hand",
    "reserved",
    "available",
    "version",
    "update_time",
];

/// What a movement of the ledger has.
pub(super) const LEDGER: &[&str] = &[
    "sku",
    "location",
    "version",
    "kind",
    "on_hand_delta",
    "reserved_delta",
    "on_hand",
    "reserved",
    "create_time",
    "order_id",
    "request_id",
    "note",
    // The other half of a transfer; empty where a movement is none.
    "counterpart_location",
    "counterpart_version",
];

/// Checks a text for people, of which the server takes so many bytes.
///
/// # Errors
/// Names the first bound that it breaks.
pub(super) fn check_text(text: &str, bytes_max: usize) -> Result<(), Invalid> {
    text_faults(text, bytes_max).next().map_or(Ok(()), Err)
}

/// What spreadsheets take for the beginning of a formula.
const FORMULA_BEGINS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text as it stands in a cell.
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    if is_formula(text) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text of a cell.
pub(super) fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if is_formula(text) => text,
        _ => cell,
    }
}

/// Whether it is one but for apostrophes, so that a text which has one of its own before
/// it is told from a guarded one.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA_BEGINS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_could_be_run_is_guarded_and_comes_back_as_it_was() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "''-"] {
            assert_eq!(guarded(text), format!("'{text}"));
        }
        for text in ["", "'", "'s Hertogenbosch", "a=b", "85123A", "a\n=b"] {
            assert_eq!(guarded(text), text);
        }
        for text in ["=1", "'=1", "''=1", "'", "'a", "", "-", "a'"] {
            assert_eq!(unguarded(&guarded(text)), text);
        }
    }
}
