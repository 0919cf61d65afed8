//! `stockroom demo`: everything at work, with nothing to set up.
//!
//! Runs the server that `serve` runs, calls it as any client does, and ends by
//! asking the database whether it all adds up.

mod embedded;
mod flash_sale;
mod summary;
mod watchers;

use std::process::ExitCode;

use anyhow::Context;

use super::print::{print_raw, tell};
use super::replay::{self, Replay};
use super::shutdown;
use crate::client::Client;
use crate::config::Config;
use embedded::Embedded;
use summary::Act;
use watchers::{Truth, Watchers};

/// The first 10,000 rows of the Online Retail data set (data/README.md).
const SAMPLE: &[u8] = include_bytes!("../../data/online_retail_10k.csv");

/// Clients that replay the invoices.
const CLIENTS: usize = 16;

/// Connections for orders, and as many again for the watchers.
const CONNECTIONS: usize = 4;

/// Show all of it: real orders, watchers, a flash sale, and the books
///
/// Starts a server on an embedded SQLite database in a temporary directory and
/// replays 512 invoices of a real shop to it, with a little less stock than they
/// need, while 100 watchers check what they are sent. Then 256 callers place
/// 20,000 orders for the best-selling product, of which 5,000 units are left.
/// Prints what happened and checks every invariant of the database; then serves
/// until Ctrl-C, so that you can try it with grpcurl. The directory is removed
/// at the end.
///
/// Examples:
///
///   # See it, then try it
///   stockroom demo
///
///   # As a check: exits 1 unless everything adds up
///   stockroom demo --exit
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DemoArgs {
    /// End after the summary instead of serving on
    #[arg(long)]
    exit: bool,
    /// Port to serve on, or the next one that is free; 0 lets the system choose
    #[arg(long, default_value_t = 50_051)]
    port: u16,
    /// Opening stock, as a part of what the invoices need
    #[arg(long, value_name = "FACTOR", default_value = "0.97")]
    stock: replay::Factor,
}

pub(super) async fn run(args: DemoArgs, config: Config) -> anyhow::Result<ExitCode> {
    let mut shutdown = Box::pin(shutdown::requested()?);
    let server = Embedded::start(config, args.port).await?;
    let act = tokio::select! {
        act = perform(&server, args.stock) => act,
        () = &mut shutdown => {
            tell("interrupted");
            server.stop().await?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let act = act?;
    // Whoever pipes this somewhere may have closed the pipe; the exit code still counts.
    print_raw([act.to_string()])?;
    if !args.exit {
        print_raw([act.invitation(&server.url())])?;
        shutdown.await;
    }
    server.stop().await?;
    Ok(if act.adds_up() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn perform(server: &Embedded, stock: replay::Factor) -> anyhow::Result<Act> {
    let started = std::time::Instant::now();
    let replay = Replay::from_csv(SAMPLE).context("the sample that came with the program")?;
    tell(format_args!(
        "Serving on {} from SQLite in {}\n{}",
        server.url(),
        server.directory().display(),
        replay::file_line(&replay)
    ));
    let best_sellers = replay.best_sellers();
    let best_seller = *best_sellers.first().context("the sample has no goods")?;

    let watching = Client::connect(&server.url(), CONNECTIONS).await?;
    let watchers = Watchers::start(&watching, &best_sellers).await?;

    let client = Client::connect(&server.url(), CONNECTIONS).await?;
    let options = replay::Options {
        clients: CLIENTS,
        stock,
    };
    let replayed = replay::send(&client, &replay, options).await?;
    let sale = flash_sale::run(&client, best_seller).await?;

    let truth = Truth::read(server.store()).await?;
    let watched = watchers.finish(&truth).await?;
    let books = server.store().check_books().await?;
    Ok(Act {
        invoices: replay.counts.invoices,
        replayed,
        sale,
        watched,
        truth,
        books,
        counters: server.counters(),
        took: started.elapsed(),
    })
}
