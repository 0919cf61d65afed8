//! How tables look, and numbers in them.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;

/// A table: names to the left, numbers to the right.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The table as indented lines.
pub(super) fn indented(table: &Table) -> String {
    // The preset without borders leaves one space on either side of a cell.
    let lines = table.lines().map(|line| format!(" {}\n", line.trim_end()));
    lines.collect()
}

/// 1234567 as "1,234,567".
pub(super) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}
