//! What was promised, held against what was measured.

use crate::rows::Row;
use crate::support::promises::Verdict;

/// What the promises call KB.
const KB_BYTES: f64 = 1_024.0;

/// Every promise that was measured, in the order in which they were made.
pub(crate) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let row = |case: &str| rows.iter().find(|row| row.case == case);
    let value = |case: &str, name: &str| row(case).and_then(|row| row.value(name));
    let mut verdicts = Vec::new();
    let bytes = value("idle", "bytes_per_stream");
    verdicts.extend(most(
        "10,000 idle streams on 100 connections: a stream",
        "KB",
        bytes.map(|bytes| bytes / KB_BYTES),
        (16.0, 8.0),
    ));
    verdicts.extend(least(
        "one level to 10,000 streams: messages a second",
        "× bare",
        row("fanout").and_then(|row| row.ratio_to_floor),
        (0.9, 1.2),
    ));
    verdicts.extend(most(
        "1,000 streams on 1,000 levels, 1,000 orders/s: commit to reader, p99",
        "ms",
        value("levels", "p99_ms"),
        (50.0, 10.0),
    ));
    verdicts.extend(most(
        "10,000 streams on the hot SKU: orders lost at full rate",
        "%",
        row("hot").and_then(|row| row.orders_lost_percent),
        (25.0, 10.0),
    ));
    verdicts.extend(least(
        "10,000 levels to one watcher",
        "levels/s",
        value("snapshot", "levels_per_s"),
        (100_000.0, 300_000.0),
    ));
    for (case, what) in [
        ("storm", "10,000 streams synced again after a restart"),
        ("storm_killed", "10,000 streams synced again after a kill"),
    ] {
        verdicts.extend(most(what, "s", value(case, "synced_s"), (10.0, 3.0)));
    }
    verdicts.extend(most(
        "commit on one instance to a reader of another, p99",
        "ms",
        value("instances", "p99_ms"),
        (100.0, 20.0),
    ));
    let violations: u64 = rows.iter().map(|row| row.violations).sum();
    let what = "violations in all cases";
    verdicts.push(Verdict::most(what, "", violations as f64, 0.0, None));
    verdicts
}

type Bounds = (f64, f64);

fn most(
    what: &str,
    unit: &'static str,
    measured: Option<f64>,
    (at_most, beyond): Bounds,
) -> Option<Verdict> {
    measured.map(|measured| Verdict::most(what, unit, measured, at_most, beyond))
}

fn least(
    what: &str,
    unit: &'static str,
    measured: Option<f64>,
    (at_least, beyond): Bounds,
) -> Option<Verdict> {
    measured.map(|measured| Verdict::least(what, unit, measured, at_least, beyond))
}
