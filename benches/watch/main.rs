//! What ten thousand watchers cost, and how late they are.
//!
//! Starts the release binary as server, on a private PostgreSQL that flushes its commits,
//! `stockroom load` for orders, and a reader of its own, each in a process of its own.
//! The reader checks every message with the auditor that the tests use, and in the end
//! compares all of it with the ledger. Where a ratio is promised, the floor is a bare tonic
//! stream of the same messages to the same reader, measured in between. After each
//! measurement with orders the books are checked.
//!
//! ```text
//! main      arguments, and the run from start to end
//! subjects  what is measured, and in which order
//! bench     what the measurements have in common
//! idle      … of memory
//! fanout    … of messages a second, and of the floor
//! lag       … from the commit to the reader, of this instance or another one
//! hot       … of orders while they are watched
//! snapshot  … of all levels to one watcher
//! storm     … of everybody who comes back after a restart
//! bare      the stream with nothing behind it
//! reader    the process that reads; `readers`: as a child process
//! truth     what the ledger says, for the reader
//! rows      medians, ratios, and target/bench/watch.json
//! verdicts  what was promised, held against what was measured
//! report    the tables that people read
//! charts    target/bench/watch_*.svg
//!
//! in ../support, shared with the other benches: support/mod.rs lists them
//! ```
//!
//! Prints its progress to stderr and its tables to stdout. Exits 1 when a promise about
//! what comes was broken, a book does not balance, or a measurement failed, and writes what
//! there is.

mod bare;
mod bench;
mod charts;
mod fanout;
mod hot;
mod idle;
mod lag;
mod reader;
mod readers;
mod report;
mod rows;
mod snapshot;
mod storm;
mod subjects;
#[expect(dead_code, reason = "no bench needs all that they share")]
#[path = "../support/mod.rs"]
mod support;
mod truth;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;

use bench::Bench;
use report::Report;
use rows::Results;
use subjects::{Case, schedule};
use support::effort::Effort;
use support::machine::Machine;
use support::promises::write_json;
use support::run::Run;
use support::stores::StoreKind;

/// As in the program: the bare server is this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure what watchers cost a live server, and how late they are
#[derive(Debug, clap::Parser)]
#[command(name = "watch")]
struct Arguments {
    /// Once and briefly instead of the median of five: under three minutes
    #[arg(long)]
    quick: bool,
    /// Only this case
    #[arg(long, value_name = "NAME")]
    case: Option<Case>,
    /// On this store
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    store: StoreKind,
    /// How often each is measured [default: 5; quick: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each is measured [default: 4; quick: 2]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the tables to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Be the bare server, with so many new values a second; how the bench starts it
    #[arg(long, hide = true, value_name = "PER_SECOND")]
    serve_bare: Option<u32>,
    /// Be the reader that does this; how the bench starts it
    #[arg(long, hide = true, value_name = "JSON")]
    reader: Option<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured unless the caller says otherwise.
fn usual_effort(quick: bool) -> Effort {
    let (repeats, warmup, measured) = if quick {
        (1, Duration::from_secs(1), Duration::from_secs(2))
    } else {
        (5, Duration::from_secs(2), Duration::from_secs(4))
    };
    Effort {
        repeats,
        warmup,
        measured,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(newer_per_s) = arguments.serve_bare {
        bare::serve(newer_per_s)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(spec) = &arguments.reader {
        reader::be(spec)?;
        return Ok(ExitCode::SUCCESS);
    }
    let effort = usual_effort(arguments.quick).or(arguments.repeats, arguments.seconds)?;
    let began = Instant::now();
    let mut run = Run::begin()?;
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let mut bench = Bench::new(arguments.store, effort.warmup, effort.measured)?;
    let results = measure(&mut bench, &arguments, &effort, &mut run)?;

    let rows = results.rows(arguments.store);
    let verdicts = verdicts::verdicts(&rows);
    let report = Report {
        machine: &machine,
        postgres: bench.postgres_settings(),
        effort: &effort,
        rows: &rows,
        verdicts: &verdicts,
    };
    let paper = report.paper();
    paper.print();
    let mut written = vec![write_json("watch.json", &rows, &verdicts)?];
    written.extend(charts::draw(&rows)?);
    let problems = [results.problems().as_slice(), run.failures()].concat();
    paper.end(written, arguments.markdown, began, &problems)
}

/// Measures everything that is asked for, repeat after repeat.
fn measure(
    bench: &mut Bench,
    arguments: &Arguments,
    effort: &Effort,
    run: &mut Run,
) -> anyhow::Result<Results> {
    let has_instances = arguments.store == StoreKind::Postgres;
    let schedule = schedule(arguments.case, has_instances);
    let mut results = Results::default();
    for repeat in 1..=effort.repeats {
        for (place, subject) in schedule.iter().enumerate() {
            if run.is_given_up() {
                return Ok(results);
            }
            let measured = bench.measure(*subject);
            let measured = measured.with_context(|| subject.to_string());
            let Some(measured) = run.take(measured)? else {
                continue;
            };
            let (place, of) = (place + 1, schedule.len());
            eprintln!("[{repeat}: {place:>2}/{of}] {subject}: {measured}");
            results.add(*subject, measured);
        }
    }
    Ok(results)
}
