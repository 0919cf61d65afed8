//! Tables, and numbers as people read them.

use comfy_table::{CellAlignment, Table};
use indicatif::HumanFloatCount;

/// An empty table. The first `names` columns say what was measured; the others hold
/// numbers.
pub(crate) fn new_table(header: &[&str], names: usize) -> Table {
    let mut table = Table::new();
    table.set_header(header);
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Three digits that matter.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        abs if abs >= 1_000.0 => grouped(number),
        abs if abs >= 100.0 => format!("{number:.0}"),
        abs if abs >= 10.0 => format!("{number:.1}"),
        0.0 => "0".to_owned(),
        abs if abs < 1.0 => format!("{number:.3}"),
        _ => format!("{number:.2}"),
    }
}

/// 1234567.8 as "1,234,568".
pub(crate) fn grouped(number: f64) -> String {
    format!("{:.0}", HumanFloatCount(number))
}
