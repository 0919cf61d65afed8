//! How reads grow with replicas: what a primary has to do for them.
//!
//! Starts a private PostgreSQL with two streaming replicas, all of which are there in every
//! case, and the release binary as server with none, one and both of them in
//! `store.replicas`. Callers read one level a call, of any version. On one machine all
//! servers share its cores, so reads a second grow little or not at all here; what is
//! measured is the work that is taken off the primary: processor time of its backends
//! for a thousand reads. On machines of their own, replicas add reads until the instances
//! or the network are full, and what is left of the primary is for orders.
//!
//! ```text
//! main     arguments, the cases, medians, the table, target/bench/replicas.json
//! shop     the databases, the server, and who uses how much
//! callers  who reads
//! ```

mod callers;
#[expect(dead_code, reason = "this bench has no use for memory")]
#[path = "../support/cpu.rs"]
mod cpu;
#[path = "../support/effort.rs"]
mod effort;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/machine.rs"]
mod machine;
#[expect(dead_code, reason = "this bench needs only medians of its own")]
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/paper.rs"]
mod paper;
#[expect(dead_code, reason = "no load is started here")]
#[path = "../support/processes.rs"]
mod processes;
#[expect(dead_code, reason = "no bench stops its server")]
#[path = "../../tests/servers/mod.rs"]
mod servers;
mod shop;
#[path = "../support/tables.rs"]
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser as _;
use comfy_table::Table;
use serde::Serialize;

use effort::Effort;
use machine::Machine;
use numbers::{median, rounded};
use paper::Paper;
use shop::{Measured, Shop};
use tables::{new_table, short};

/// Replicas of the largest case. More would only divide two cores further.
const REPLICAS: usize = 2;

/// As in the program: callers run in this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure what reads cost the primary with none, one and two replicas
#[derive(Debug, clap::Parser)]
#[command(name = "replicas")]
struct Arguments {
    /// Once and briefly
    #[arg(long)]
    quick: bool,
    /// How often each is measured [default: 5; quick: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each is measured [default: 4; quick: 1]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the table to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is written of one case.
#[derive(Debug, Serialize)]
struct Row {
    replicas: usize,
    reads_per_s: f64,
    /// Of all reads.
    share_of_replicas: f64,
    /// Milliseconds of processor time for a thousand reads.
    primary_cpu_ms: f64,
    replicas_cpu_ms: f64,
    server_cpu_ms: f64,
    /// What the primary has left to do.
    primary_cpu_ratio_to_none: f64,
    reads_ratio_to_none: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let (repeats, warmup_s, measured_s) = if arguments.quick {
        (1, 1, 1)
    } else {
        (5, 2, 4)
    };
    let effort = Effort {
        repeats,
        warmup: Duration::from_secs(warmup_s),
        measured: Duration::from_secs(measured_s),
    };
    let effort = effort.or(arguments.repeats, arguments.seconds)?;
    let began = Instant::now();
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let shop = Shop::open(REPLICAS)?;
    let mut cases: Vec<Vec<Measured>> = vec![Vec::new(); REPLICAS + 1];
    for repeat in 1..=effort.repeats {
        for (replicas, measured) in cases.iter_mut().enumerate() {
            let one = shop.measure(replicas, &effort)?;
            eprintln!(
                "[{repeat}] {replicas} replicas: {:.0} reads/s",
                one.reads_per_s
            );
            measured.push(one);
        }
    }
    let rows = rows(&cases);
    let preface = vec![machine.to_string(), effort.to_string()];
    let paper = Paper::new(
        preface,
        [("Reads of one level, of any version", table(&rows))],
    );
    paper.print();
    let mut written = vec![files::write_json(
        "replicas.json",
        &serde_json::json!({ "cases": &rows }),
    )?];
    if let Some(path) = arguments.markdown {
        paper.write_markdown(&path)?;
        written.push(path);
    }
    let idle = rows
        .iter()
        .filter(|row| row.replicas > 0 && row.share_of_replicas < 0.99);
    let problems: Vec<String> = idle
        .map(|row| {
            format!(
                "{} replicas served {} of the reads",
                row.replicas, row.share_of_replicas
            )
        })
        .collect();
    Ok(paper::end(&written, began, &problems))
}

fn rows(cases: &[Vec<Measured>]) -> Vec<Row> {
    let of = |measured: &[Measured], value: fn(&Measured) -> f64| {
        rounded(median(measured.iter().map(value)), 3)
    };
    let none = &cases[0];
    let cases = cases.iter().enumerate();
    cases
        .map(|(replicas, measured)| {
            let ratio = |value| rounded(of(measured, value) / of(none, value), 3);
            Row {
                replicas,
                reads_per_s: of(measured, |it| it.reads_per_s),
                share_of_replicas: of(measured, |it| it.share_of_replicas),
                primary_cpu_ms: of(measured, |it| it.primary_cpu_ms),
                replicas_cpu_ms: of(measured, |it| it.replicas_cpu_ms),
                server_cpu_ms: of(measured, |it| it.server_cpu_ms),
                primary_cpu_ratio_to_none: ratio(|it| it.primary_cpu_ms),
                reads_ratio_to_none: ratio(|it| it.reads_per_s),
            }
        })
        .collect()
}

fn table(rows: &[Row]) -> Table {
    let mut table = new_table(
        &[
            "replicas",
            "reads/s on this machine",
            "primary, ms CPU per 1,000 reads",
            "× without replicas",
            "replicas, ms CPU per 1,000 reads",
            "server, ms CPU per 1,000 reads",
        ],
        1,
    );
    for row in rows {
        table.add_row([
            row.replicas.to_string(),
            short(row.reads_per_s),
            short(row.primary_cpu_ms),
            short(row.primary_cpu_ratio_to_none),
            short(row.replicas_cpu_ms),
            short(row.server_cpu_ms),
        ]);
    }
    table
}
