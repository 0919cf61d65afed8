//! `stockroom replay`: real orders from a file, through the real API.

mod factor;
mod invoices;
mod retail;
mod rows;
mod send;
mod summary;

pub(super) use factor::Factor;
pub(super) use retail::Replay;
pub(super) use send::{Options, Summary, run as send};
pub(super) use summary::{file_line, tables};

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::RangedU64ValueParser;

use super::address::Address;
use super::print::{print, tell};
use crate::client::ClientError;
use crate::config::Config;

/// Connections that the clients share; more cost the server more than they gain.
const CONNECTIONS_MAX: usize = 8;

/// Send the orders of a real shop to a server
///
/// Reads a file in the Online Retail format (data/README.md describes it), puts
/// its products, receives opening stock, and then sends every invoice from many
/// clients at once: sales as CreateOrder with the invoice number as request_id,
/// lines of returns (C…) as AdjustStock RETURNED, negative lines of other
/// invoices as CORRECTION. Codes that are no goods, such as postage, are
/// skipped and counted. Nothing is sent when a row cannot be understood, or asks for what
/// no server takes; such rows are told by their lines. An invoice is of one customer, the one
/// on the first of its rows that has one.
///
/// Products are put as the file has them, without backorders. An invoice of more
/// than 1,000 lines becomes further orders: 573585, 573585/2.
///
/// Every request carries an id that follows from the file, so that a second
/// replay of it carries nothing out twice: it is answered from the first, and
/// what was refused is tried again. Orders that are refused for want of stock are part of a
/// replay; the exit code is 1 when anything is refused for another reason.
///
/// Examples:
///
///   # The sample in this repository: 512 invoices from five days in 2010
///   stockroom replay data/online_retail_10k.csv
///
///   # With three percent too little stock, so that some orders are refused; in an
///   # empty store, since the stock of another one is there already
///   stockroom replay data/online_retail_10k.csv --stock 0.97
///
///   # Against a server elsewhere
///   stockroom replay orders.csv --addr http://stock.example:50051 --clients 64
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ReplayArgs {
    /// The file to replay
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    #[command(flatten)]
    address: Address,
    /// Clients that send at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    clients: usize,
    /// Opening stock, as a part of what the file sells and corrects away
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    stock: Factor,
}

pub(super) async fn run(args: ReplayArgs, config: Config) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot open {name}"))?;
    let replay = Replay::from_csv(file).with_context(|| format!("cannot replay {name}"))?;
    tell(format_args!("{name}: {}", file_line(&replay)));

    let connections = args.clients.min(CONNECTIONS_MAX);
    let client = args.address.connect(&config, connections).await?;
    let options = Options {
        clients: args.clients,
        stock: args.stock,
    };
    let summary = send(&client, &replay, options).await;
    let summary = summary.map_err(|error| {
        let cause = error.downcast_ref::<ClientError>();
        if cause.is_some_and(ClientError::retryable) {
            error.context("the replay is not complete; the same command goes on with it")
        } else {
            error
        }
    })?;
    let tables = tables(&summary);
    print(std::iter::once("").chain(tables.lines()).map(str::to_owned))?;
    let wrong = summary.wrong();
    anyhow::ensure!(
        wrong == 0,
        "{wrong} requests were refused, and not for want of stock"
    );
    Ok(ExitCode::SUCCESS)
}
