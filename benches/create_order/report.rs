//! The table that people read.

use comfy_table::{CellAlignment, Table, presets};

use crate::Effort;
use crate::machine::Machine;
use crate::results::Row;

const HEADER: [&str; 12] = [
    "case",
    "store",
    "batched",
    "in flight",
    "orders/s",
    "min–max",
    "lines/s",
    "× echo",
    "× unbatched",
    "p50 / p99 ms",
    "orders/commit",
    "books",
];

/// Columns that say what was measured; the others hold numbers.
const NAMES: usize = 3;

/// Prints `rows` and what it takes to understand them.
pub(crate) fn print(machine: &Machine, postgres: Option<&str>, effort: &Effort, rows: &[Row]) {
    println!(
        "\nCreateOrder against a live server; server, database and load generator on this machine"
    );
    println!("{machine}");
    if let Some(postgres) = postgres {
        println!("{postgres}");
    }
    println!(
        "median of {} × {} s after {} s of warm-up; closed loop on 8 connections",
        effort.repeats,
        effort.measured.as_secs_f64(),
        effort.warmup.as_secs_f64(),
    );
    println!(
        "echo: the same messages with nothing behind them; × unbatched: over the best row that is not batched\n"
    );
    println!("{}", table(rows).trim_fmt());
    for row in rows.iter().filter(|row| row.refused_per_s > 0.0) {
        let Row {
            case,
            store,
            in_flight,
            refused_per_s,
            ..
        } = row;
        println!(
            "refused: {refused_per_s:.0} a second of {case} on {store}, {in_flight} in flight"
        );
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(HEADER);
    for column in table.column_iter_mut().skip(NAMES) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        let is_echo = row.orders_per_commit.is_none();
        let repeats = (row.accepted_per_s_min, row.accepted_per_s_max);
        table.add_row([
            row.case.to_owned(),
            if is_echo {
                String::new()
            } else {
                row.store.to_owned()
            },
            if row.batching {
                "yes"
            } else if is_echo {
                ""
            } else {
                "no"
            }
            .to_owned(),
            grouped(row.in_flight as f64),
            grouped(row.accepted_per_s),
            format!("{}–{}", grouped(repeats.0), grouped(repeats.1)),
            row.lines_per_s.map(grouped).unwrap_or_default(),
            if is_echo {
                String::new()
            } else {
                ratio(row.ratio_to_echo)
            },
            ratio(row.ratio_to_unbatched),
            format!("{:.2} / {:.2}", row.p50_ms, row.p99_ms),
            row.orders_per_commit
                .map(|orders| format!("{orders:.1}"))
                .unwrap_or_default(),
            if is_echo {
                ""
            } else if row.books_ok {
                "balance"
            } else {
                "WRONG"
            }
            .to_owned(),
        ]);
    }
    table
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
}

/// 1234567.8 as "1,234,568".
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
