//! Reads through the cache, and refusals on it, against an echo of their messages; and
//! what reads cost a primary with replicas.
//!
//! Starts a private PostgreSQL with two streaming replicas and a private Redis, which are
//! there in every case, the release binary with and without them, and the same callers
//! for all and for the echo, in turn. On one machine all servers share its cores, so
//! replicas add few reads a second or none here: what is measured of them is the work
//! that they take off the primary.
//!
//! ```text
//! main     arguments, the cases, medians, tables, target/bench/read.json
//! shop     the servers, and who uses how much
//! callers  who calls
//! echo     the server with nothing behind it
//! ```

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

use callers::{Call, FEW, MANY};
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

/// Replicas of the largest case. More would only divide two cores further.
const REPLICAS: usize = 2;

/// A name, who is called, what, by how many, and the case that it is held against.
type Case = (&'static str, Who, Call, usize, &'static str);

const CASES: [Case; 9] = [
    ("echo_read", Who::Echo, Call::Any, MANY, "echo_read"),
    ("read_cached", Who::Cached, Call::Any, MANY, "echo_read"),
    (
        "read_primary",
        Who::Plain(0),
        Call::Primary,
        MANY,
        "echo_read",
    ),
    (
        "echo_refusal",
        Who::Echo,
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    (
        "refusal_cached",
        Who::Cached,
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    (
        "refusal_engine",
        Who::Plain(0),
        Call::SoldOut,
        MANY,
        "echo_refusal",
    ),
    ("replicas_0", Who::Plain(0), Call::Any, FEW, "replicas_0"),
    ("replicas_1", Who::Plain(1), Call::Any, FEW, "replicas_0"),
    (
        "replicas_2",
        Who::Plain(REPLICAS),
        Call::Any,
        FEW,
        "replicas_0",
    ),
];

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
    let machine = Machine::look()?;
    eprintln!("{machine}");
    let cases = chosen(&arguments.case)?;
    let shop = Shop::open(REPLICAS)?;
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); cases.len()];
    for repeat in 1..=effort.repeats {
        for (&(name, who, what, callers, _), measured) in cases.iter().zip(&mut measured) {
            let one = shop.measure(who, what, callers, &effort)?;
            eprintln!("[{repeat}] {name}: {:.0}/s", one.calls_per_s);
            measured.push(one);
        }
    }
    let rows = rows(&cases, &measured);
    let verdicts = verdicts(&rows);
    let preface = vec![machine.to_string(), effort.to_string()];
    let tables = [
        (
            "Calls, 1,024 in flight (replicas: 64) on 8 connections",
            table(&rows),
        ),
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
    let astray = rows.iter().filter(|row| {
        row.case.starts_with("replicas") && row.case != "replicas_0" && row.share_of_replicas < 0.99
    });
    let problems: Vec<String> = astray
        .map(|row| {
            format!(
                "{}: {} of the reads came from them",
                row.case, row.share_of_replicas
            )
        })
        .collect();
    Ok(paper::end(&written, began, &problems))
}

fn chosen(prefix: &str) -> anyhow::Result<Vec<Case>> {
    let wanted: Vec<Case> = CASES
        .into_iter()
        .filter(|it| it.0.starts_with(prefix))
        .collect();
    anyhow::ensure!(!wanted.is_empty(), "there is no case {prefix}");
    let needed = |case: &&Case| wanted.iter().any(|it| it.0 == case.0 || it.4 == case.0);
    Ok(CASES.iter().filter(needed).copied().collect())
}

fn rows(cases: &[Case], measured: &[Vec<Measured>]) -> Vec<Row> {
    let of = |name: &str, value: fn(&Measured) -> f64| {
        let place = cases.iter().position(|case| case.0 == name);
        let measured = &measured[place.expect("a floor comes with its cases")];
        median(measured.iter().map(value))
    };
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
