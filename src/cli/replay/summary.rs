//! What a replay has to say for itself.

use super::retail::{Replay, Request};
use super::send::{Summary, Tally};
use crate::cli::table::{grouped, indented, table};

/// What the file holds, in one sentence.
pub(crate) fn file_line(replay: &Replay) -> String {
    let count =
        |is_kind: fn(&Request) -> bool| replay.requests.iter().filter(|r| is_kind(r)).count();
    let counts = &replay.counts;
    let skipped: Vec<_> = counts
        .skipped
        .iter()
        .map(|(code, rows)| format!("{rows} {code}"))
        .collect();
    let skipped = match skipped.as_slice() {
        [] => String::new(),
        codes => format!("; skipped as no goods: {}", codes.join(", ")),
    };
    format!(
        "{} rows, {} invoices: {} orders, {} returns ({} lines), {} corrections of stock{skipped}",
        grouped(counts.rows as u64),
        grouped(counts.invoices as u64),
        count(|request| matches!(request, Request::Order(_))),
        counts.return_invoices,
        count(|request| matches!(request, Request::Return(_))),
        count(|request| matches!(request, Request::Correction(_))),
    )
}

/// What became of it, as tables.
pub(crate) fn tables(summary: &Summary) -> String {
    let kinds = [
        ("opening stock", &summary.opening),
        ("orders", &summary.orders),
        ("return lines", &summary.returns),
        ("corrections", &summary.corrections),
    ];
    let mut answers = table(["", "accepted", "of these replayed", "refused", "units"]);
    for (name, tally) in kinds {
        let numbers = [
            tally.accepted,
            tally.replayed,
            tally.refused_total(),
            tally.units,
        ];
        let cells = std::iter::once(name.to_owned()).chain(numbers.map(grouped));
        answers.add_row(cells);
    }
    let answered: u64 = kinds[1..].iter().map(|(_, tally)| answered(tally)).sum();
    let mut text = indented(&answers) + "\n";
    for (name, tally) in kinds {
        for (reason, count) in &tally.refused {
            text += &format!("  refused: {} {name}, {reason}\n", grouped(*count));
        }
    }
    text += &format!(
        "  {} requests in {:.2} s: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms, {} retries\n",
        grouped(answered),
        summary.took.as_secs_f64(),
        answered as f64 / summary.took.as_secs_f64(),
        summary.latencies.ms_at(50.0),
        summary.latencies.ms_at(99.0),
        grouped(summary.retries),
    );
    text
}

fn answered(tally: &Tally) -> u64 {
    tally.accepted + tally.refused_total()
}
