//! `stockroom load`: how many orders a deployment takes, and how fast it answers.

mod addresses;
mod drive;
mod mix;
mod report;
mod schedule;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;

use super::print::{print_raw, tell};
use super::values::parse_number;
use crate::config::Config;
use addresses::Addresses;
use drive::Drive;
use mix::{LineCounts, Mix};
use report::Report;
use schedule::Pace;

/// Longest time to measure or to warm up: a day.
const SECONDS_MAX: u32 = 86_400;

/// Measure how many orders a server takes
///
/// Puts products load-00000, load-00001 … and receives a billion units of each,
/// then places orders for --seconds after a warm-up. Without --rate it is a
/// closed loop: --in-flight callers, each of which sends its next order when it
/// has the answer. With --rate it is an open loop: orders are due at that rate
/// whatever the server does, and latency counts from when an order was due, so
/// that a stall is paid for by all that it delays. The clock of that ticks in whole
/// milliseconds: above 1,000 a second orders come in bunches, those of one tick, and up
/// to 1 ms that an order is sent late is not counted. What falls due in --seconds
/// counts, whenever it is answered: what has not been sent by then is sent for ten
/// seconds more, and what is left after that is reported as not sent.
///
/// Only accepted orders count towards accepted/s and the latencies; refusals are
/// counted by reason, and timed apart. Nothing is retried; a closed loop waits as
/// long as a refusal asks it to.
///
/// Several --addr share the load evenly: the instances of one store.
///
/// The load runs on one thread, in a process of its own. Its orders stay in the
/// store: do not aim it at one that you care about.
///
/// Examples:
///
///   # Everybody wants the same product
///   stockroom load --skus 1
///
///   # Baskets of five lines over ten thousand products, a fifth of them with the bestseller
///   stockroom load --skus 10000 --lines 5 --hot 0.2
///
///   # One product, two instances of one store
///   stockroom load --skus 1 --addr http://10.0.0.1:50051 --addr http://10.0.0.2:50051
///
///   # 2,000 orders a second for a minute, whatever happens; JSON for a program to read
///   stockroom load --rate 2000 --seconds 60 --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    addresses: Addresses,
    /// Calls under way at the same time; with --rate the most there may be
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=16_384))]
    in_flight: usize,
    /// Open loop: orders that are due each second
    #[arg(long, value_name = "PER_SECOND", value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    rate: Option<u32>,
    /// Connections to each server, which the calls share
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    connections: usize,
    /// Products to order from
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    skus: usize,
    /// Part of the orders that name load-00000, from 0 to 1; at least, where orders have as many lines as there are products
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0, value_parser = parse_number::<1>)]
    hot: f64,
    /// Lines an order, each of another product
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    lines: usize,
    /// Draw the number of lines from this file instead, which has one number a line
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    lines_file: Option<PathBuf>,
    /// Let orders reserve for this long instead of taking
    #[arg(long, value_name = "SECONDS", value_parser = RangedU64ValueParser::<u32>::new().range(1..=604_800))]
    hold: Option<u32>,
    /// Confirm each order before the next; both calls together count as one
    #[arg(long, requires = "hold")]
    confirm: bool,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_number::<SECONDS_MAX>)]
    seconds: f64,
    /// How long to send before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = parse_number::<SECONDS_MAX>)]
    warmup_seconds: f64,
    /// The products and their stock are there from an earlier run
    #[arg(long)]
    no_setup: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn line_counts(&self) -> anyhow::Result<LineCounts> {
        let counts = match &self.lines_file {
            None => LineCounts::of(vec![self.lines]),
            Some(path) => {
                let name = path.display();
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
                LineCounts::parse(&text).with_context(|| format!("in {name}"))?
            }
        };
        ensure!(
            counts.max() <= self.skus,
            "orders of up to {} lines, each of another product, need as many --skus",
            counts.max()
        );
        Ok(counts)
    }
}

pub(super) async fn run(args: LoadArgs, config: Config) -> anyhow::Result<ExitCode> {
    let mix = Arc::new(Mix::new(
        args.skus,
        args.line_counts()?,
        args.hot,
        args.hold,
    ));
    if !args.no_setup {
        // One store has them all, whichever instance writes it.
        let clients = args.addresses.connect(&config, args.connections).await?;
        setup::stock_up(&clients[0], &mix).await?;
    }
    let drive = Drive {
        mix,
        confirm: args.confirm,
        in_flight: args.in_flight,
        pace: args.rate.map_or(Pace::Closed, Pace::Open),
        warmup: Duration::from_secs_f64(args.warmup_seconds),
        measured: Duration::from_secs_f64(args.seconds),
    };
    let (warmup, measured) = (args.warmup_seconds, args.seconds);
    tell(format_args!(
        "warming up for {warmup} s, measuring for {measured} s"
    ));
    let tally = on_one_thread(async || {
        let clients = args.addresses.connect(&config, args.connections).await?;
        drive.run(&clients).await
    })?;
    let report = Report::new(&args, &tally);
    let report = if args.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    print_raw([report])?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `work` on a runtime of its own. On one thread a call wakes nobody else's
/// core, which is most of what a small call costs, and the server keeps the rest
/// of the machine.
fn on_one_thread<T: Send>(
    work: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the runtime")?;
            runtime.block_on(work())
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
