//! Reads through the cache, and refusals on it, against an echo of their messages; and
//! what reads cost a primary with replicas.
//!
//! Starts a private PostgreSQL with two streaming replicas and a private Redis, which are
//! there in every case, the release binary with and without them, and the same callers
//! for all and for the echo, in turn. The callers are this process, which so is none of
//! those whose processor time is told. Nothing is sold, so there are no books to check.
//! Where there is no Redis, what needs it is left out, aloud. On one machine all servers share its cores, so
//! replicas add few reads a second or none here: what is measured of them is the work
//! that they take off the primary.
//!
//! ```text
//! main     arguments, the cases, medians, tables, target/bench/read.json
//! cases    what is measured
//! shop     the servers, and who uses how much
//! callers  who calls
//! echo     the server with nothing behind it
//! ```

mod callers;
mod cases;
mod echo;
mod shop;
#[expect(dead_code, reason = "no bench needs all that they share")]
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use comfy_table::Table;
use serde::Serialize;

use cases::{Case, REPLICAS, chosen};
use shop::{Measured, Shop};
use support::effort::Effort;
use support::machine::Machine;
use support::numbers::{median, rounded};
use support::paper::Paper;
use support::promises::{Verdict, promises, write_json};
use support::run::Run;
use support::servers::redis;
use support::tables::{new_table, short};

/// As in the program: callers and the echo run in this executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure reads through the cache and from replicas, and refusals on the cache
#[derive(Debug, clap::Parser)]
#[command(name = "read")]
struct Arguments {
    /// Once and briefly
    #[arg(long)]
    quick: bool,
    /// Only the cases whose names begin so, and their floor
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

/// What is written of one case.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    calls_per_s: f64,
    /// To the echo of its messages; of replicas to none of them.
    ratio_to_floor: f64,
    /// Of all calls.
    hit_rate: f64,
    /// Of all calls.
    share_of_replicas: f64,
    /// Microseconds of processor time for a call.
    server_us: f64,
    /// Of the primary.
    database_us: f64,
    replicas_us: f64,
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
    let mut run = Run::begin()?;
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let (cases, left_out) = chosen(&arguments.case, redis::program().is_some())?;
    if let Some(left_out) = left_out {
        eprintln!("{left_out}");
    }
    let measured = measure(&cases, &effort, &mut run)?;
    let rows = rows(&cases, &measured);
    let verdicts = verdicts(&rows);
    let mut preface = vec![machine.to_string(), effort.to_string()];
    preface.extend(left_out.map(str::to_owned));
    let tables = [
        (
            "Calls, 1,024 in flight (replicas: 64) on 8 connections",
            table(&rows),
        ),
        ("Promised and measured", promises(&verdicts)),
    ];
    let paper = Paper::new(preface, tables);
    paper.print();
    let written = vec![write_json("read.json", &rows, &verdicts)?];
    let problems = [astray(&rows).as_slice(), run.failures()].concat();
    paper.end(written, arguments.markdown, began, &problems)
}

/// Measures all cases, repeat after repeat: what came of each.
fn measure(cases: &[Case], effort: &Effort, run: &mut Run) -> anyhow::Result<Vec<Vec<Measured>>> {
    let shop = Shop::open(REPLICAS)?;
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); cases.len()];
    for repeat in 1..=effort.repeats {
        for (&(name, who, what, callers, _), measured) in cases.iter().zip(&mut measured) {
            if run.is_given_up() {
                break;
            }
            let one = shop.measure(who, what, callers, effort);
            let Some(one) = run.take(one.with_context(|| name))? else {
                continue;
            };
            eprintln!("[{repeat}] {name}: {:.0}/s", one.calls_per_s);
            measured.push(one);
        }
    }
    Ok(measured)
}

/// Reads that did not come from where they should have.
fn astray(rows: &[Row]) -> Vec<String> {
    let astray = rows.iter().filter(|row| {
        row.case.starts_with("replicas") && row.case != "replicas_0" && row.share_of_replicas < 0.99
    });
    let told = astray.map(|row| {
        let (case, share) = (row.case, row.share_of_replicas);
        format!("{case}: {share} of the reads came from them")
    });
    told.collect()
}

/// Of the cases that were measured, with their floors.
fn rows(cases: &[Case], measured: &[Vec<Measured>]) -> Vec<Row> {
    let measurements = |name: &str| {
        let place = cases.iter().position(|case| case.0 == name);
        &measured[place.expect("a floor comes with its cases")]
    };
    let of = |name: &str, value: fn(&Measured) -> f64| median(measurements(name).iter().map(value));
    let is_measured = |name: &str| !measurements(name).is_empty();
    let row = |&(case, .., floor): &Case| Row {
        case,
        calls_per_s: rounded(of(case, |it| it.calls_per_s), 0),
        ratio_to_floor: rounded(
            of(case, |it| it.calls_per_s) / of(floor, |it| it.calls_per_s),
            3,
        ),
        hit_rate: rounded(of(case, |it| it.share_of_cache), 4),
        share_of_replicas: rounded(of(case, |it| it.share_of_replicas), 4),
        server_us: rounded(of(case, |it| it.server_us), 2),
        database_us: rounded(of(case, |it| it.database_us), 2),
        replicas_us: rounded(of(case, |it| it.replicas_us), 2),
        redis_us: rounded(of(case, |it| it.redis_us), 2),
    };
    let all = cases.iter();
    let measured = all.filter(|(case, .., floor)| is_measured(case) && is_measured(floor));
    measured.map(row).collect()
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
            row.ratio_to_floor,
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
        "× floor",
        "hit rate",
        "from replicas",
        "server, µs CPU a call",
        "primary, µs",
        "replicas, µs",
        "Redis, µs",
    ];
    let mut table = new_table(&header, 1);
    for row in rows {
        table.add_row([
            row.case.to_owned(),
            short(row.calls_per_s),
            short(row.ratio_to_floor),
            short(row.hit_rate),
            short(row.share_of_replicas),
            short(row.server_us),
            short(row.database_us),
            short(row.replicas_us),
            short(row.redis_us),
        ]);
    }
    table
}
