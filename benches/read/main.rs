//! Reads through the cache, and refusals on it, against an echo of their messages.
//!
//! Starts a private PostgreSQL and a private Redis, the release binary with and without
//! Redis, and the same callers for all of them and for the echo, in turn.
//!
//! ```text
//! main     arguments, the cases, medians, tables, target/bench/read.json
//! shop     the servers, and who uses how much
//! callers  who calls
//! echo     the server with nothing behind it
//! ```
//! What reads cost a primary with replicas is another bench, `replicas`.

mod callers;
#[expect(dead_code, reason = "this bench has no use for memory")]
#[path = "../support/cpu.rs"]
mod cpu;
mod echo;
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
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/promises.rs"]
mod promises;
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

use callers::Call;
use effort::Effort;
use machine::Machine;
use numbers::{median, rounded};
use paper::Paper;
use promises::{Verdict, promises};
use shop::{Measured, Shop, Who};
use tables::{new_table, short};

/// As in the program: callers and the echo run in this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure reads through the cache, and refusals on it
#[derive(Debug, clap::Parser)]
#[command(name = "read")]
struct Arguments {
    /// Once and briefly
    #[arg(long)]
    quick: bool,
    /// Only the cases whose names begin so, and their echo
    #[arg(long, value_name = "NAME", default_value = "")]
    case: String,
    /// How often each is measured [default: 5; quick: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// How long each is measured [default: 4; quick: 1]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the tables to this file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the echo server; how the bench starts it
    #[arg(long, hide = true)]
    serve_echo: bool,
}

/// What is measured, and against which of them.
const CASES: [(&str, Who, Call, &str); 6] = [
    ("echo_read", Who::Echo, Call::Any, "echo_read"),
    ("read_cached", Who::Cached, Call::Any, "echo_read"),
    ("read_primary", Who::Plain, Call::Primary, "echo_read"),
    ("echo_refusal", Who::Echo, Call::SoldOut, "echo_refusal"),
    ("refusal_cached", Who::Cached, Call::SoldOut, "echo_refusal"),
    ("refusal_engine", Who::Plain, Call::SoldOut, "echo_refusal"),
];

/// What is written of one case.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    calls_per_s: f64,
    ratio_to_echo: f64,
    /// Of all reads.
    hit_rate: f64,
    /// Microseconds of processor time for a call.
    server_us: f64,
    database_us: f64,
    redis_us: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.serve_echo {
        echo::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
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
    let cases = chosen(&arguments.case)?;
    let shop = Shop::open()?;
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); cases.len()];
    for repeat in 1..=effort.repeats {
        for (&(name, who, what, _), measured) in cases.iter().zip(&mut measured) {
            let one = shop.measure(who, what, &effort)?;
            eprintln!("[{repeat}] {name}: {:.0}/s", one.calls_per_s);
            measured.push(one);
        }
    }
    let rows = rows(&cases, &measured);
    let verdicts = verdicts(&rows);
    let preface = vec![machine.to_string(), effort.to_string()];
    let tables = [
        ("Calls, 1,024 in flight on 8 connections", table(&rows)),
        ("Promised and measured", promises(&verdicts)),
    ];
    let paper = Paper::new(preface, tables);
    paper.print();
    let json = serde_json::json!({ "cases": &rows, "promises": &verdicts });
    let mut written = vec![files::write_json("read.json", &json)?];
    if let Some(path) = arguments.markdown {
        paper.write_markdown(&path)?;
        written.push(path);
    }
    Ok(paper::end(&written, began, &[]))
}

type Case = (&'static str, Who, Call, &'static str);

fn chosen(prefix: &str) -> anyhow::Result<Vec<Case>> {
    let wanted: Vec<Case> = CASES
        .into_iter()
        .filter(|it| it.0.starts_with(prefix))
        .collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no case {prefix}");
    let needed = |case: &&Case| wanted.iter().any(|it| it.0 == case.0 || it.3 == case.0);
    Ok(CASES.iter().filter(needed).copied().collect())
}

fn rows(cases: &[Case], measured: &[Vec<Measured>]) -> Vec<Row> {
    let of = |name: &str, value: fn(&Measured) -> f64| {
        let place = cases.iter().position(|case| case.0 == name);
        let measured = &measured[place.expect("an echo comes with its cases")];
        median(measured.iter().map(value))
    };
    let row = |&(case, _, _, echo): &Case| Row {
        case,
        calls_per_s: rounded(of(case, |it| it.calls_per_s), 0),
        ratio_to_echo: rounded(
            of(case, |it| it.calls_per_s) / of(echo, |it| it.calls_per_s),
            3,
        ),
        hit_rate: rounded(of(case, |it| it.share_of_cache), 4),
        server_us: rounded(of(case, |it| it.server_us), 2),
        database_us: rounded(of(case, |it| it.database_us), 2),
        redis_us: rounded(of(case, |it| it.redis_us), 2),
    };
    cases.iter().map(row).collect()
}

fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let promised = [
        ("read_cached", "GetStock from the cache", 0.8),
        ("refusal_cached", "orders refused on the cache", 0.7),
    ];
    let measured = promised.into_iter().filter_map(|(case, what, at_least)| {
        let row = rows.iter().find(|row| row.case == case)?;
        Some(Verdict::least(
            what,
            "× echo",
            row.ratio_to_echo,
            at_least,
            None,
        ))
    });
    let mut verdicts: Vec<Verdict> = measured.collect();
    if let Some(row) = rows.iter().find(|row| row.case == "refusal_cached") {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let share = rounded(row.calls_per_s * row.database_us / 1e4 / cores, 1);
        let what = "the cores that the database takes meanwhile, for looking up requests";
        verdicts.push(Verdict::most(what, "%", share, 10.0, None));
    }
    verdicts
}

fn table(rows: &[Row]) -> Table {
    let header = [
        "case",
        "calls/s",
        "× echo",
        "hit rate",
        "server, µs CPU a call",
        "database, µs",
        "Redis, µs",
    ];
    let mut table = new_table(&header, 1);
    for row in rows {
        table.add_row([
            row.case.to_owned(),
            short(row.calls_per_s),
            short(row.ratio_to_echo),
            short(row.hit_rate),
            short(row.server_us),
            short(row.database_us),
            short(row.redis_us),
        ]);
    }
    table
}
