//! The tables that people read.

use comfy_table::Table;

use crate::rows::Row;
use crate::support::effort::Effort;
use crate::support::machine::Machine;
use crate::support::paper::Paper;
use crate::support::promises::{Verdict, promises};
use crate::support::tables::{grouped, new_table, short};

const HEADER: [&str; 14] = [
    "case",
    "store",
    "guard",
    "batched",
    "in flight",
    "orders/s",
    "min–max",
    "lines/s",
    "× echo",
    "× unbatched",
    "× limit",
    "p50 / p99 ms",
    "orders/commit",
    "books",
];

/// Columns that say what was measured; the others hold numbers.
const NAMES: usize = 4;

/// Everything that is worth a table.
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a Machine,
    /// How PostgreSQL keeps its promise; none when it was not measured.
    pub(crate) postgres: Option<&'a str>,
    pub(crate) effort: &'a Effort,
    /// What had to be done without, in words.
    pub(crate) left_out: Option<&'a str>,
    pub(crate) rows: &'a [Row],
    pub(crate) verdicts: &'a [Verdict],
}

impl Report<'_> {
    /// All of it.
    pub(crate) fn paper(&self) -> Paper {
        let best = || self.rows.iter().filter(|row| row.best);
        let (offered, full) = best().partition::<Vec<_>, _>(|row| row.offered_per_s.is_some());
        let tables = [
            ("Throughput", throughput(&full)),
            ("Offered load", offered_load(&offered)),
            (
                "Processor time of an order, µs",
                processor_time(&best().collect::<Vec<_>>()),
            ),
            (
                "Overload, fairness, events",
                details(&best().collect::<Vec<_>>()),
            ),
            ("Promised and measured", promises(self.verdicts)),
        ];
        Paper::new(self.preface(), tables)
    }

    /// What it takes to understand the tables.
    fn preface(&self) -> Vec<String> {
        let mut lines = vec![
            "CreateOrder against a live server; server, database and load generator on this machine"
                .to_owned(),
        ];
        lines.extend(self.machine.to_string().lines().map(str::to_owned));
        lines.extend(self.postgres.map(str::to_owned));
        lines.extend(self.left_out.map(str::to_owned));
        lines.extend([
            format!("{}; closed loop on 8 connections unless a load is offered", self.effort),
            "hot_at_10, 25, 75 and 90 percent, of the peak above: a single measurement each; \
             SQLite after 3 s of warm-up, when its log is written over and grows no more"
                .to_owned(),
            "echo: the same messages with nothing behind them; bare: the same statements with nothing before them, \
             in batches as large as the server's, of baskets in batches of 64; \
             limit: 1 / (1/echo + 1/bare), the one after the other"
                .to_owned(),
            "unbatched: the best of the pools and calls in flight that were tried, of which the rows show that one; \
             spread after a second of orders of 100 lines, which make the levels known"
                .to_owned(),
        ]);
        lines
    }
}

fn throughput(rows: &[&Row]) -> Table {
    let mut table = new_table(&HEADER, NAMES);
    for row in rows {
        let repeats = (row.accepted_per_s_min, row.accepted_per_s_max);
        table.add_row(names(row).into_iter().chain([
            grouped(row.in_flight as f64),
            grouped(row.accepted_per_s),
            format!("{}–{}", grouped(repeats.0), grouped(repeats.1)),
            row.lines_per_s.map(grouped).unwrap_or_default(),
            ratio(row.ratio_to_echo.filter(|_| row.store != "none")),
            ratio(row.ratio_to_unbatched),
            ratio(row.ratio_to_limit),
            latencies(row),
            per_commit(row),
            books(row).to_owned(),
        ]));
    }
    table
}

fn offered_load(rows: &[&Row]) -> Table {
    let header = [
        "case",
        "store",
        "guard",
        "batched",
        "offered/s",
        "accepted/s",
        "refused/s",
        "p50 / p99 ms",
        "p99 of refusals ms",
        "orders/commit",
        "books",
    ];
    let mut table = new_table(&header, NAMES);
    for row in rows {
        table.add_row(
            names(row).into_iter().chain([
                row.offered_per_s.map(grouped).unwrap_or_default(),
                grouped(row.accepted_per_s),
                grouped(row.refused_per_s),
                latencies(row),
                row.refused_p99_ms
                    .map(|ms| format!("{ms:.2}"))
                    .unwrap_or_default(),
                per_commit(row),
                books(row).to_owned(),
            ]),
        );
    }
    table
}

fn processor_time(rows: &[&Row]) -> Table {
    let header = [
        "case",
        "store",
        "guard",
        "batched",
        "server",
        "database",
        "generator",
    ];
    let mut table = new_table(&header, NAMES);
    for row in rows {
        let cpu = [row.cpu.server_us, row.cpu.database_us, row.cpu.generator_us];
        table.add_row(names(row).into_iter().chain(cpu.map(|us| {
            if us > 0.0 {
                format!("{us:.1}")
            } else {
                String::new()
            }
        })));
    }
    table
}

fn details(rows: &[&Row]) -> Table {
    let mut table = new_table(&["case", "what", "measured"], 2);
    for row in rows {
        for (name, value) in &row.details {
            let (what, value) = match name.strip_suffix("_bytes") {
                Some(what) => (format!("{what}, MiB"), value / f64::from(1 << 20)),
                None => ((*name).to_owned(), *value),
            };
            let what = what.replace("_per_s", " a second").replace("_ms", ", ms");
            let value = if value < 100.0 && value.fract() != 0.0 {
                format!("{value:.2}")
            } else {
                grouped(value)
            };
            table.add_row([row.case.clone(), what.replace('_', " "), value]);
        }
    }
    table
}

/// What a row is of; as many as [`NAMES`].
fn names(row: &Row) -> [String; NAMES] {
    let is_echo = row.store == "none";
    let unless_echo = |text: &str| if is_echo { "" } else { text }.to_owned();
    let case = match row.instances {
        1 => row.case.clone(),
        instances => format!("{}, {instances} instances", row.case),
    };
    let batched = match row.pool_max {
        _ if row.batching => "yes".to_owned(),
        Some(pool) => format!("no, pool {pool}"),
        None => String::new(),
    };
    let (store, guard) = (unless_echo(row.store), unless_echo(row.strategy));
    [case, store, guard, batched]
}

fn latencies(row: &Row) -> String {
    format!("{:.2} / {:.2}", row.p50_ms, row.p99_ms)
}

fn per_commit(row: &Row) -> String {
    let orders = row.orders_per_commit;
    orders
        .map(|orders| format!("{orders:.1}"))
        .unwrap_or_default()
}

fn books(row: &Row) -> &'static str {
    match row.store {
        "none" => "",
        _ if row.books_ok => "balance",
        _ => "WRONG",
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map(short).unwrap_or_default()
}
