//! How many durable orders a second, against a live server.
//!
//! Starts the release binary as server and `stockroom load` as client, each in a
//! process of its own, on SQLite and on a private PostgreSQL that flushes its
//! commits. Measures `hot` (all orders for one product), `spread` (one line over
//! 10,000 products) and `baskets` (as many lines as real invoices have), batched
//! and unbatched, under every guard, and in between two floors: `echo`, the same
//! messages with nothing behind them, and `bare`, the same statements with nothing
//! before them. Then one caller, an open loop, two instances, twice the orders that a
//! slow database lets through, a few callers beside a crowd, and Kafka told of it all. Machines differ
//! twofold and hours by a quarter, so what counts are the ratios of one run. After
//! each measurement the books are checked.
//!
//! ```text
//! main      arguments, and the run from start to end
//! schedule  what is measured, and in which order
//! setup     the things that can be measured, as values
//! bench     one measurement from start to end
//! overload  … of twice the peak, with `proxy`, a database that is slow to reach
//! silence   … how long somebody who watches waits then
//! fairness  … of a few beside many
//! events    … with Kafka told of each order
//! meter     processor time of servers and database (`cpu`)
//! echo      the server with nothing behind it
//! bare      the database client with nothing before it
//! results   from measurements to medians; variants: which of several counts
//! rows      ratios, and target/bench/create_order.json
//! verdicts  what was promised, held against what was measured
//! report    the tables that people read
//! charts    target/bench/create_order_*.svg
//!
//! in ../support, shared with the other benches: support/mod.rs lists them
//! ```
//!
//! Prints its progress to stderr and its tables to stdout. Exits 1 when a book
//! does not balance, or a measurement failed, and writes what there is.

mod bare;
mod bench;
mod charts;
mod echo;
mod events;
mod fairness;
mod invoices;
mod meter;
mod overload;
mod proxy;
mod report;
mod results;
mod rows;
mod schedule;
mod setup;
mod silence;
#[expect(dead_code, reason = "no bench needs all that they share")]
#[path = "../support/mod.rs"]
mod support;
mod variants;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;

use bench::Bench;
use report::Report;
use results::Results;
use schedule::{Case, Selection};
use setup::{Guard, Setup};
use support::effort::Effort;
use support::machine::Machine;
use support::promises::write_json;
use support::run::Run;
use support::servers::kafka;
use support::stores::StoreKind;

/// As in the program: the echo server is this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure how many durable orders a second a live server takes
#[derive(Debug, clap::Parser)]
#[command(name = "create_order")]
struct Arguments {
    /// Once, briefly and less of it, instead of the median of five: under three minutes
    #[arg(long)]
    quick: bool,
    /// Only this case
    #[arg(long, value_name = "NAME")]
    case: Option<Case>,
    /// Only this store
    #[arg(long, value_name = "NAME")]
    store: Option<StoreKind>,
    /// Only this guard, on PostgreSQL
    #[arg(long, value_name = "NAME")]
    strategy: Option<Guard>,
    /// How often each is measured [default: 5; quick: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each is measured [default: 3; quick: 1.8]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the tables to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Be the echo server; how the bench starts it
    #[arg(long, hide = true)]
    serve_echo: bool,
    /// Be the bare client that does this; how the bench starts it
    #[arg(long, hide = true, value_name = "JSON")]
    bare_client: Option<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured unless the caller says otherwise.
fn usual_effort(quick: bool) -> Effort {
    let (repeats, warmup, measured) = if quick {
        (1, Duration::from_millis(700), Duration::from_millis(1_800))
    } else {
        (5, Duration::from_secs(1), Duration::from_secs(3))
    };
    Effort {
        repeats,
        warmup,
        measured,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.serve_echo {
        echo::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(spec) = &arguments.bare_client {
        bare::be(spec)?;
        return Ok(ExitCode::SUCCESS);
    }
    let effort = usual_effort(arguments.quick).or(arguments.repeats, arguments.seconds)?;
    let began = Instant::now();
    let mut run = Run::begin()?;
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let selection = Selection {
        case: arguments.case,
        store: arguments.store,
        strategy: arguments.strategy,
        quick: arguments.quick,
        has_kafka: kafka::is_installed(),
    };
    let left_out = selection.left_out()?;
    if let Some(left_out) = left_out {
        eprintln!("{left_out}");
    }
    let mut bench = Bench::new(effort.warmup, effort.measured)?;
    let results = measure(&mut bench, &selection, &effort, &mut run)?;

    let rows = rows::rows(&results);
    let verdicts = verdicts::verdicts(&rows);
    let report = Report {
        machine: &machine,
        postgres: bench.postgres_settings(),
        effort: &effort,
        left_out,
        rows: &rows,
        verdicts: &verdicts,
    };
    let paper = report.paper();
    paper.print();
    let mut written = vec![write_json("create_order.json", &rows, &verdicts)?];
    written.extend(charts::draw(&rows)?);
    let problems = [results.problems().as_slice(), run.failures()].concat();
    paper.end(written, arguments.markdown, began, &problems)
}

/// Measures everything that is asked for, repeat after repeat.
fn measure(
    bench: &mut Bench,
    selection: &Selection,
    effort: &Effort,
    run: &mut Run,
) -> anyhow::Result<Results> {
    let mut results = Results::default();
    for repeat in 1..=effort.repeats {
        let schedule = selection.repeat(&results);
        measure_all(bench, (repeat, &schedule), &mut results, run)?;
    }
    for repeat in 1..=effort.repeats {
        let schedule = selection.below_peak(repeat == 1);
        measure_all(bench, (repeat, &schedule), &mut results, run)?;
    }
    Ok(results)
}

/// Measures one repeat, unless the run has been given up.
fn measure_all(
    bench: &mut Bench,
    (repeat, schedule): (usize, &[Setup]),
    results: &mut Results,
    run: &mut Run,
) -> anyhow::Result<()> {
    for (place, setup) in schedule.iter().enumerate() {
        if run.is_given_up() {
            break;
        }
        let Some(measured) = run.take(bench.measure(*setup, results))? else {
            continue;
        };
        let (place, of) = (place + 1, schedule.len());
        eprintln!("[{repeat}: {place:>3}/{of}] {setup}: {measured}");
        results.add(*setup, measured);
    }
    Ok(())
}
