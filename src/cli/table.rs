//! How tables look, and numbers in them.

use comfy_table::{CellAlignment, Table, presets};

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
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_threes() {
        assert_eq!(
            [0, 7, 999, 1_000, 123_456, 1_234_567].map(grouped),
            ["0", "7", "999", "1,000", "123,456", "1,234,567"]
        );
    }
}
