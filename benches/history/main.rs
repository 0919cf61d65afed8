//! Long histories: what a page of each list takes, and how fast orders are, with ten
//! million orders in the tables and with none.
//!
//! Fills a private PostgreSQL (15 GB of disk for ten million orders, and some ten minutes),
//! starts the release binary on it, and asks for pages as a caller does, from the bench's
//! own process. Then orders are sent to a server on it and to one on a store with none, in
//! turn. The latter is a fresh copy each time, whose books are checked after it; those of
//! millions of orders are not.
//!
//! ```text
//! main    arguments, medians, tables, target/bench/history.json
//! fill    the history, by SQL
//! orders  orders with it and without
//! pages   the lists; slower: which of two pages counts
//! ```

mod fill;
mod orders;
mod pages;
mod slower;
#[expect(dead_code, reason = "no bench needs all that they share")]
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;
use stockroom::client::Client;
use stockroom::client::proto::ListOrdersRequest;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use orders::OrdersRow;
use support::effort::Effort;
use support::files;
use support::machine::Machine;
use support::numbers::rounded;
use support::paper::Paper;
use support::processes::Server;
use support::promises::{Verdict, promises};
use support::run::Run;
use support::stock::receive;
use support::stores::{Database, StoreKind, sql};
use support::tables::{grouped, new_table, short};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure pages of lists, and orders, on a store with a long history
#[derive(Debug, clap::Parser)]
#[command(name = "history")]
struct Arguments {
    /// Orders in the tables
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    orders: u64,
    /// How often orders are measured
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each time
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the tables to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a page may take.
const PAGE_MS_MAX: f64 = 10.0;

/// One list.
#[derive(Debug, Serialize)]
struct PageRow {
    list: &'static str,
    rows: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let effort = Effort {
        repeats: 5,
        warmup: Duration::from_secs(2),
        measured: Duration::from_secs(6),
    };
    let effort = effort.or(arguments.repeats, arguments.seconds)?;
    let began = Instant::now();
    let run = Run::begin()?;
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let (runtime, folder) = (Runtime::new()?, tempfile::tempdir()?);
    let none = stocked(&runtime, &folder)?;
    let full = none.copy()?;
    fill::fill(&full.url(), arguments.orders, &run)?;
    let size = sql(
        &full.url(),
        "SELECT pg_size_pretty(pg_database_size(current_database()))",
    )?;
    let pages = measure_pages(&runtime, &folder, &full, arguments.orders)?;
    let (orders, problems) = orders::measure(&runtime, &folder, [&none, &full], &effort, &run)?;
    let verdicts = verdicts(&pages, &orders);
    let history = format!(
        "{} orders in the tables, {size}",
        grouped(arguments.orders as f64)
    );
    let preface = vec![machine.to_string(), history, effort.to_string()];
    let tables = [
        (
            "Pages of 100 rows, as a caller sees them",
            table_of_pages(&pages),
        ),
        ("Orders, 1,024 in flight", table_of_orders(&orders)),
        ("Promised and measured", promises(&verdicts)),
    ];
    let paper = Paper::new(preface, tables);
    paper.print();
    let json = serde_json::json!({ "pages": &pages, "cases": &orders, "verdicts": &verdicts });
    let written = vec![files::write_json("history.json", &json)?];
    paper.end(written, arguments.markdown, began, &problems)
}

/// A database with stock of every product, and a level of ten movements.
fn stocked(runtime: &Runtime, folder: &TempDir) -> anyhow::Result<Database> {
    let database = runtime.block_on(Database::migrated(StoreKind::Postgres))?;
    // One product more, which the history does not touch, with ten deliveries.
    receive(runtime, folder.path(), &database, 1, 10)?;
    let rename = "\
        INSERT INTO product SELECT 'load-01000', display_name, low_stock_threshold FROM product; \
        UPDATE stock_level SET sku = 'load-01000'; UPDATE movement SET sku = 'load-01000'; \
        UPDATE request SET sku = 'load-01000' WHERE sku IS NOT NULL; \
        UPDATE movement_time SET sku = 'load-01000', skus = ARRAY['load-01000']";
    sql(&database.url(), rename)?;
    receive(runtime, folder.path(), &database, fill::SKUS, 1)?;
    database.settle()?;
    Ok(database)
}

fn measure_pages(
    runtime: &Runtime,
    folder: &TempDir,
    full: &Database,
    orders: u64,
) -> anyhow::Result<Vec<PageRow>> {
    let server = Server::stockroom(runtime, folder.path(), &full.url(), &[])?;
    let rows = runtime.block_on(async {
        let client = Client::connect(&server.url, 1).await?;
        let newest = client.list_orders(ListOrdersRequest::default()).await?;
        let newest = newest.orders.first().context("there are orders")?;
        let mut rows = Vec::new();
        for (list, mut page) in pages::pages(orders, &newest.order_id) {
            let measured = pages::measure(&client, &mut page).await;
            let [p50_ms, p99_ms, count] = measured.with_context(|| list.to_owned())?;
            eprintln!("{list}: {p50_ms:.2} ms");
            let (p50_ms, p99_ms) = (rounded(p50_ms, 3), rounded(p99_ms, 3));
            rows.push(PageRow {
                list,
                rows: count,
                p50_ms,
                p99_ms,
            });
        }
        anyhow::Ok(rows)
    })?;
    server.stop()?;
    Ok(rows)
}

fn verdicts(pages: &[PageRow], orders: &[OrdersRow]) -> Vec<Verdict> {
    let slowest = pages.iter().map(|row| row.p50_ms).fold(0.0, f64::max);
    let mut verdicts = vec![Verdict::most(
        "the slowest page",
        "ms",
        slowest,
        PAGE_MS_MAX,
        None,
    )];
    let p50 = |list: &str| {
        let row = pages.iter().find(|row| row.list == list);
        row.map_or(0.0, |row| row.p50_ms / row.rows.max(1.0))
    };
    let long = p50(pages::LONGEST) / p50(pages::LONGEST_MIDDLE);
    verdicts.push(Verdict::most(
        "a page at the begin of the longest level, against its middle",
        "×",
        rounded(long, 3),
        1.5,
        None,
    ));
    verdicts.extend(orders.iter().map(|row| {
        let what = format!("orders with the history, {}", row.case);
        Verdict::least(what, "× none", row.ratio_to_empty, 0.9, None)
    }));
    verdicts
}

fn table_of_pages(rows: &[PageRow]) -> comfy_table::Table {
    let mut table = new_table(&["list", "rows", "p50, ms", "p99, ms"], 1);
    for row in rows {
        table.add_row([
            row.list.to_owned(),
            short(row.rows),
            short(row.p50_ms),
            short(row.p99_ms),
        ]);
    }
    table
}

fn table_of_orders(rows: &[OrdersRow]) -> comfy_table::Table {
    let mut table = new_table(&["case", "none, orders/s", "with it, orders/s", "×"], 1);
    for row in rows {
        table.add_row([
            row.case.to_owned(),
            short(row.empty_per_s),
            short(row.full_per_s),
            short(row.ratio_to_empty),
        ]);
    }
    table
}
