//! How many durable orders a second, against a live server.
//!
//! Starts the release binary as server and `stockroom load` as client, each in a
//! process of its own, on SQLite and on a private PostgreSQL that flushes its
//! commits. Measures `hot` (all orders for one product), `spread` (one line over
//! 10,000 products) and `baskets` (as many lines as real invoices have), batched
//! and unbatched, and in between `echo`: the same messages with nothing behind
//! them. Machines differ twofold and hours by a quarter, so what counts are the
//! ratios of one run. After each measurement the books are checked.
//!
//! ```text
//! main      the schedule: what is measured, and in which order
//! cases     one measurement from start to end
//! stores    databases with stock in them, and their books
//! processes servers and generators as child processes
//! echo      the server with nothing behind it
//! results   from measurements to medians and ratios, and target/bench/create_order.json
//! report    the table that people read
//! machine   what it was measured on
//! ```
//!
//! Prints its progress to stderr and its table to stdout. Exits 1 when a book
//! does not balance.

mod cases;
mod echo;
mod invoices;
mod machine;
#[expect(dead_code, reason = "no bench stops its server")]
#[path = "../../tests/it/postgres.rs"]
mod postgres;
mod processes;
mod report;
mod results;
mod stores;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;

use cases::{Bench, Case, Setup, Target};
use machine::Machine;
use results::Results;
use stores::StoreKind;

/// As in the program: the echo server is this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls in flight against a server that batches, and against the echo.
const IN_FLIGHT: usize = 1_024;

/// Measure how many durable orders a second a live server takes
#[derive(Debug, clap::Parser)]
#[command(name = "create_order")]
struct Arguments {
    /// Once and briefly instead of the median of five: under three minutes
    #[arg(long)]
    quick: bool,
    /// Only this case
    #[arg(long, value_name = "NAME")]
    case: Option<Case>,
    /// Only this store
    #[arg(long, value_name = "NAME")]
    store: Option<StoreKind>,
    /// Be the echo server; how the bench starts it
    #[arg(long, hide = true)]
    serve_echo: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured.
struct Effort {
    repeats: usize,
    warmup: Duration,
    measured: Duration,
    /// Calls in flight that are tried without batching; the best one counts.
    unbatched_in_flight: &'static [usize],
}

const FULL: Effort = Effort {
    repeats: 5,
    warmup: Duration::from_millis(1_500),
    measured: Duration::from_secs(5),
    unbatched_in_flight: &[16, 64, 256],
};

const QUICK: Effort = Effort {
    repeats: 1,
    warmup: Duration::from_millis(700),
    measured: Duration::from_millis(1_800),
    unbatched_in_flight: &[16, 64],
};

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.serve_echo {
        echo::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let effort = if arguments.quick { &QUICK } else { &FULL };
    let schedule = schedule(&arguments, effort);

    let machine = Machine::look()?;
    eprintln!("{machine}");
    let mut bench = Bench::new(effort.warmup, effort.measured)?;
    let mut results = Results::default();
    for (place, setup) in schedule.iter().enumerate() {
        let measured = bench.measure(*setup)?;
        eprintln!("[{:>3}/{}] {setup}: {measured}", place + 1, schedule.len());
        results.add(*setup, measured);
    }

    let rows = results.rows();
    report::print(&machine, bench.postgres_settings(), effort, &rows);
    let path = results::write_json(&rows)?;
    println!(
        "\n{} written; all of it took {} s",
        path.display(),
        began.elapsed().as_secs()
    );
    let problems = results.problems();
    for problem in &problems {
        eprintln!("the books do not balance: {problem}");
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is measured in which order: repeat after repeat, never all repeats of
/// one thing in a row, and an echo right before each batched measurement that
/// is held against it.
fn schedule(arguments: &Arguments, effort: &Effort) -> Vec<Setup> {
    let stores = StoreKind::ALL
        .into_iter()
        .filter(|s| arguments.store.is_none_or(|only| only == *s));
    let cases = Case::ALL
        .into_iter()
        .filter(|c| arguments.case.is_none_or(|only| only == *c));
    let pairs = stores.flat_map(|store| cases.clone().map(move |case| (store, case)));
    let pairs: Vec<_> = pairs.collect();
    let mut schedule = Vec::new();
    for _ in 0..effort.repeats {
        for &(store, case) in &pairs {
            let stored = |batching| Target::Store { store, batching };
            let full = [Target::Echo, stored(true)].map(|target| (target, IN_FLIGHT));
            let sweep = effort.unbatched_in_flight.iter();
            let sweep = sweep.map(|&in_flight| (stored(false), in_flight));
            let setup = |(target, in_flight)| Setup {
                case,
                target,
                in_flight,
            };
            schedule.extend(full.into_iter().chain(sweep).map(setup));
        }
    }
    schedule
}
