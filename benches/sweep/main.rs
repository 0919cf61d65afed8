//! How fast holds that are over end by themselves.
//!
//! Fills a store with orders on hold through a server that does not sweep, waits until all
//! of them are over, and starts a server with the usual settings. Measured is the time from
//! when it listens until no hold is left: what it takes to become the one that sweeps
//! included. Nobody orders meanwhile. Then the books are checked, and that nothing is
//! reserved any more.

#[expect(dead_code, reason = "no bench needs all that they share")]
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use serde::Serialize;
use stockroom::storage::{Access, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use support::load::{self, GRACE, Orders};
use support::machine::Machine;
use support::numbers::{median, rounded};
use support::paper::Paper;
use support::processes::Server;
use support::promises::{Verdict, promises, write_json};
use support::run::Run;
use support::stock::Stocks;
use support::stores::{Database, StoreKind, Totals};
use support::tables::{grouped, new_table, short};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure how fast the sweeper ends holds that are over
#[derive(Debug, clap::Parser)]
#[command(name = "sweep")]
struct Arguments {
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeats: usize,
    /// Holds to end, about
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    holds: u32,
    /// Only this store
    #[arg(long, value_name = "NAME")]
    store: Option<StoreKind>,
    /// Write the tables to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// The holds are all of one product, or spread.
const CASES: [(&str, usize); 2] = [("hot", 1), ("spread", 10_000)];

/// Orders a second while holds are made: what the slowest machine takes.
const FILL_PER_S: u32 = 10_000;

/// Calls in flight while holds are made.
const IN_FLIGHT: usize = 1_024;

/// How long each hold lasts: the shortest there is, and what rounding adds.
const HOLD: Duration = Duration::from_millis(1_100);

/// How often it is asked whether one is left.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What ending all of them may take.
const SWEEP_LIMIT: Duration = Duration::from_secs(300);

/// What is asked of the sweeper.
const ENDED_PER_S_MIN: f64 = 10_000.0;

/// One case.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    holds: f64,
    ended_per_s: f64,
    books_ok: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let mut run = Run::begin()?;
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let mut bench = Bench {
        runtime: Runtime::new()?,
        folder: tempfile::tempdir()?,
        stocks: Stocks::default(),
        holds: arguments.holds,
    };
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for store in [StoreKind::Postgres, StoreKind::Sqlite] {
        if arguments.store.is_some_and(|only| only != store) {
            continue;
        }
        for (shape, skus) in CASES {
            let case = format!("{shape}_{}", store.name());
            let mut repeats = Vec::new();
            for repeat in 1..=arguments.repeats {
                if run.is_given_up() {
                    break;
                }
                let one = bench.measure(store, skus);
                if let Some(one) = run.take(one.with_context(|| case.clone()))? {
                    let (holds, rate) = (one.holds, one.ended_per_s);
                    eprintln!("[{repeat}] {case}: {holds} holds, {rate:.0}/s");
                    repeats.push(one);
                }
            }
            let found = repeats
                .iter()
                .flat_map(|one| one.wrong.iter().chain(&one.not_sent));
            problems.extend(found.map(|problem| format!("{case}: {problem}")));
            rows.extend(row(case, &repeats));
        }
    }
    problems.extend_from_slice(run.failures());
    let verdicts: Vec<Verdict> = rows.iter().map(verdict).collect();
    let settings = bench.stocks.postgres_settings().map(str::to_owned);
    let effort = format!("median of {}", arguments.repeats);
    let preface = [Some(machine.to_string()), settings, Some(effort)];
    let tables = [
        ("Holds that end by themselves", table(&rows)),
        ("Promised and measured", promises(&verdicts)),
    ];
    let paper = Paper::new(preface.into_iter().flatten().collect(), tables);
    paper.print();
    let written = vec![write_json("sweep.json", &rows, &verdicts)?];
    paper.end(written, arguments.markdown, began, &problems)
}

/// What measurements share.
struct Bench {
    runtime: Runtime,
    folder: TempDir,
    stocks: Stocks,
    /// Holds to end, about.
    holds: u32,
}

/// One measurement.
struct Swept {
    holds: i64,
    ended_per_s: f64,
    /// What does not balance.
    wrong: Vec<String>,
    /// Whether there are fewer holds than there should be.
    not_sent: Option<String>,
}

impl Bench {
    fn measure(&mut self, store: StoreKind, skus: usize) -> anyhow::Result<Swept> {
        let folder = self.folder.path();
        let (database, units) = self.stocks.copy(&self.runtime, folder, store)?;
        let made = self.fill(&database, skus)?;
        let took = self.sweep(&database)?;
        let told = Totals::of_holds(&made);
        Ok(Swept {
            holds: made.accepted_total,
            ended_per_s: made.accepted_total as f64 / took.as_secs_f64(),
            wrong: self.runtime.block_on(wrong(&database, units, told))?,
            not_sent: made.problem(),
        })
    }

    /// Makes orders on hold, until all of the holds are over.
    fn fill(&self, database: &Database, skus: usize) -> anyhow::Result<load::Load> {
        // It looks once when it starts, and again in an hour.
        let never = [("STOCKROOM_HOLDS_SWEEP_INTERVAL_MS", "3600000".to_owned())];
        let server = self.serve(database, &never)?;
        let measured = Duration::from_secs_f64(f64::from(self.holds) / f64::from(FILL_PER_S));
        let orders = Orders {
            skus,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            more: &["--hold=1"],
            rate: Some(FILL_PER_S),
            connections: 8,
            warmup: Duration::ZERO,
            measured,
        };
        let (limit, folder) = (measured + GRACE, self.folder.path());
        let made = load::run(&[&server.url], folder, &orders.arguments(), limit)?;
        std::thread::sleep(HOLD);
        server.stop()?;
        database.settle()?;
        Ok(made)
    }

    /// How long a server takes to end all of them.
    fn sweep(&self, database: &Database) -> anyhow::Result<Duration> {
        let config = database.config();
        let store = Store::open(&config, Access::Read);
        let store = self.runtime.block_on(store)?;
        let server = self.serve(database, &[])?;
        let began = server.listening_at;
        let took = self.runtime.block_on(async {
            while !store.overdue_holds(1).await?.is_empty() {
                ensure!(
                    began.elapsed() < SWEEP_LIMIT,
                    "the sweeper does not get done"
                );
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            Ok(began.elapsed())
        })?;
        self.runtime.block_on(store.close());
        server.stop()?;
        Ok(took)
    }

    fn serve(&self, database: &Database, settings: &[(&str, String)]) -> anyhow::Result<Server> {
        let folder = self.folder.path();
        Server::stockroom(&self.runtime, folder, &database.url(), settings)
    }
}

/// What does not balance, and what is still reserved.
async fn wrong(database: &Database, units: i64, told: Totals) -> anyhow::Result<Vec<String>> {
    let mut problems = database.audit(units, told).await?.problems;
    let reserved: i64 = database.levels().await?.iter().map(|it| it.reserved).sum();
    if reserved != 0 {
        problems.push(format!("{reserved} units are still reserved"));
    }
    Ok(problems)
}

/// None of a case that was never measured.
fn row(case: String, repeats: &[Swept]) -> Option<Row> {
    (!repeats.is_empty()).then(|| Row {
        case,
        holds: rounded(median(repeats.iter().map(|one| one.holds as f64)), 0),
        ended_per_s: rounded(median(repeats.iter().map(|one| one.ended_per_s)), 0),
        books_ok: repeats.iter().all(|one| one.wrong.is_empty()),
    })
}

fn verdict(row: &Row) -> Verdict {
    let what = format!("`{}`, holds ended", row.case);
    Verdict::least(what, "/s", row.ended_per_s, ENDED_PER_S_MIN, None)
}

fn table(rows: &[Row]) -> comfy_table::Table {
    let mut table = new_table(&["case", "holds", "ended, orders/s", "books"], 1);
    for row in rows {
        let books = if row.books_ok { "balance" } else { "BROKEN" };
        table.add_row([
            row.case.clone(),
            grouped(row.holds),
            short(row.ended_per_s),
            books.to_owned(),
        ]);
    }
    table
}
