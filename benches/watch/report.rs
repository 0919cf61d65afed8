//! The tables that people read.

use comfy_table::Table;

use crate::rows::Row;
use crate::support::effort::Effort;
use crate::support::machine::Machine;
use crate::support::paper::Paper;
use crate::support::promises::{Verdict, promises};
use crate::support::tables::{grouped, new_table, short};

/// Everything that is worth a table.
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a Machine,
    /// How PostgreSQL keeps its promise; none when it was not measured.
    pub(crate) postgres: Option<&'a str>,
    pub(crate) effort: &'a Effort,
    pub(crate) rows: &'a [Row],
    pub(crate) verdicts: &'a [Verdict],
}

impl Report<'_> {
    /// All of it.
    pub(crate) fn paper(&self) -> Paper {
        let tables = [
            ("Streams", streams(self.rows)),
            ("Delivery, ms", delivery(self.rows)),
            ("Orders, snapshots, reconnects", others(self.rows)),
            ("Promised and measured", promises(self.verdicts)),
        ];
        Paper::new(self.preface(), tables)
    }

    /// What it takes to understand the tables.
    fn preface(&self) -> Vec<String> {
        let mut lines = vec![
            "WatchStock from a live server; server, database, orders and reader on this machine"
                .to_owned(),
        ];
        lines.extend(self.machine.to_string().lines().map(str::to_owned));
        lines.extend(self.postgres.map(str::to_owned));
        lines.extend([
            self.effort.to_string(),
            "bare: a tonic stream of the same messages that waits for a tokio watch, clones the level and encodes it, \
             to the same reader"
                .to_owned(),
            "lag: from the time in the ledger, which is set just before the commit, until the reader holds that version \
             or a later one; of fanout and hot, the age of what came"
                .to_owned(),
            "reconnects: from the moment when the new server listens until every stream is synced"
                .to_owned(),
        ]);
        lines
    }
}

fn streams(rows: &[Row]) -> Table {
    let header = [
        "case",
        "store",
        "streams",
        "connections",
        "messages/s",
        "min–max",
        "KB a stream",
        "× bare",
        "server µs a message",
        "reader µs a message",
        "server % of a core",
        "reader % of a core",
        "violations",
        "books",
    ];
    let mut table = new_table(&header, 2);
    for row in rows {
        let number = |name| row.value(name).map(short).unwrap_or_default();
        table.add_row([
            row.case.to_owned(),
            row.store.replace("none", ""),
            grouped(row.streams as f64),
            row.connections.to_string(),
            row.value("messages_per_s").map(grouped).unwrap_or_default(),
            row.messages_per_s_min_max
                .map(|(min, max)| format!("{}–{}", grouped(min), grouped(max)))
                .unwrap_or_default(),
            row.value("bytes_per_stream")
                .map(|bytes| short(bytes / 1_024.0))
                .unwrap_or_default(),
            row.ratio_to_floor.map(short).unwrap_or_default(),
            number("server_us_per_message"),
            number("reader_us_per_message"),
            number("server_core_percent"),
            number("reader_core_percent"),
            row.violations.to_string(),
            books(row).to_owned(),
        ]);
    }
    table
}

fn delivery(rows: &[Row]) -> Table {
    let header = [
        "case", "store", "p50", "p90", "p99", "p99.9", "longest", "orders/s",
    ];
    let mut table = new_table(&header, 2);
    for row in rows.iter().filter(|row| row.value("p50_ms").is_some()) {
        let number = |name| row.value(name).map(short).unwrap_or_default();
        table.add_row([
            row.case.to_owned(),
            row.store.replace("none", ""),
            number("p50_ms"),
            number("p90_ms"),
            number("p99_ms"),
            number("p99_9_ms"),
            number("max_ms"),
            row.value("orders_per_s").map(grouped).unwrap_or_default(),
        ]);
    }
    table
}

fn others(rows: &[Row]) -> Table {
    let mut table = new_table(&["case", "what", "measured"], 2);
    for row in rows {
        let mut add = |what: &str, value: Option<f64>| {
            if let Some(value) = value {
                table.add_row([row.case.to_owned(), what.to_owned(), short(value)]);
            }
        };
        if row.case.starts_with("hot") {
            add("orders/s", row.value("orders_per_s"));
            add("orders, p99 ms", row.value("order_p99_ms"));
        }
        add("orders lost, %", row.orders_lost_percent);
        add("levels/s", row.value("levels_per_s"));
        add("a snapshot, ms", row.value("snapshot_ms"));
        add("the slowest snapshot, ms", row.value("snapshot_worst_ms"));
        add("all synced again, s", row.value("synced_s"));
        add("streams opened", row.value("streams_opened"));
        add("Goodbyes", row.value("goodbyes"));
        let unfair = row.case.ends_with("fanout");
        for (what, name) in [
            ("messages of the slowest stream", "stream_messages_least"),
            ("messages of the fastest stream", "stream_messages_most"),
        ] {
            add(what, row.value(name).filter(|_| unfair));
        }
    }
    table
}

fn books(row: &Row) -> &'static str {
    match row.books_ok {
        None => "",
        Some(true) => "balance",
        Some(false) => "WRONG",
    }
}
