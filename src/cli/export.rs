//! `stockroom export`: products, levels and the ledger as CSV.
//!
//! Owns what is asked for and how an export ends. Pages are read one after the other and
//! written as they come, so memory does not depend on how much there is.

mod output;
mod pages;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::print::tell;
use super::shutdown;
use super::values::parse_level;
use crate::client::ClientError;
use crate::client::proto::StockKey;
use crate::config::Config;
use output::Output;

/// Write products, levels or movements to a CSV file
///
/// Rows come in ascending SKU and location by bytes, movements of a level in the order of
/// their versions and without a gap. What changes while the export runs may be in it or
/// not; a level's movements are complete up to the version that its last row has.
///
/// A text that a spreadsheet would take for a formula has an apostrophe before it, which
/// `stockroom import` takes off again. What products and levels export, import reads; a
/// ledger is for reading alone.
///
/// An export to a file that ended too soon, whatever ended it, goes on with --resume;
/// until then FILE.csv.resume beside it says how far it came.
///
/// Examples:
///
///   # What is in stock, on standard output
///   stockroom export levels
///
///   # The ledger of all that is sold, and the same again after it was interrupted; that of
///   # a deleted product is there with --level
///   stockroom export movements --output ledger.csv
///   stockroom export movements --output ledger.csv --resume
///
///   # What has happened to a level since version 120
///   stockroom export movements --level 22423@york --after 120
///
///   # A family of products
///   stockroom export products --sku-prefix 85 --output products.csv
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExportArgs {
    /// What to write
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
    /// The file to write; - for standard output, which is the default
    #[arg(long, short, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// Go on with a file that is not complete; without one, begin
    #[arg(long, requires = "output")]
    resume: bool,
    /// Replace a file that is there
    #[arg(long, requires = "output", conflicts_with = "resume")]
    overwrite: bool,
    /// Only SKUs that begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    sku_prefix: String,
    /// Only movements of this level; the location is main unless given
    #[arg(long, value_name = "SKU[@LOCATION]", value_parser = parse_level, conflicts_with = "sku_prefix")]
    level: Option<StockKey>,
    /// Only movements above this version of the level
    #[arg(long, value_name = "VERSION", requires = "level")]
    after: Option<i64>,
    #[command(flatten)]
    address: Address,
}

/// Said behind what is in a file.
const GOES_ON: &str = ", and the same command with --resume goes on";

/// What an export has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Products: what is sold
    Products,
    /// Levels: what is in stock
    Levels,
    /// Movements: every change of stock, from the ledger
    Movements,
}

/// What is asked for: what a file that is gone on with must have been asked for, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Selection {
    what: What,
    sku_prefix: String,
    /// A single level: its SKU and location.
    level: Option<(String, String)>,
    /// Of the single level, only versions above.
    after: i64,
}

impl Selection {
    fn of(args: &ExportArgs) -> anyhow::Result<Self> {
        if args.level.is_some() && args.what != What::Movements {
            anyhow::bail!("--level goes with movements alone");
        }
        let level = args.level.as_ref();
        Ok(Self {
            what: args.what,
            sku_prefix: args.sku_prefix.clone(),
            level: level.map(|key| (key.sku.clone(), key.location.clone())),
            after: args.after.unwrap_or_default(),
        })
    }
}

pub(super) async fn run(args: ExportArgs, config: Config) -> anyhow::Result<ExitCode> {
    let selection = Selection::of(&args)?;
    let file = args.output.filter(|path| path.as_os_str() != "-");
    ensure!(
        file.is_some() || !(args.resume || args.overwrite),
        "--resume and --overwrite go with a file"
    );
    let stop = shutdown::requested()?;
    tokio::pin!(stop);
    // Connected and asked first: a file is not touched when there is nothing to write into it.
    let client = args.address.connect(&config, 1).await?.retrying();
    tokio::select! {
        asked = pages::ask(&client, &selection) => asked?,
        () = &mut stop => {
            tell("interrupted; nothing was written");
            return Ok(ExitCode::from(shutdown::EXIT_INTERRUPTED));
        }
    }
    let mut output = match file {
        None => Output::stdout(),
        Some(path) if args.overwrite => Output::create(path, selection.clone())?,
        Some(path) => Output::open(path, selection.clone(), args.resume)?,
    };
    let begin = output.place().clone();
    let ended = tokio::select! {
        result = pages::write(&client, &selection, begin, &mut output) => Some(result),
        () = &mut stop => None,
    };
    match ended {
        Some(Ok(())) => {
            output.complete()?;
            Ok(ExitCode::SUCCESS)
        }
        // Whoever reads has seen enough: `stockroom export levels | head`.
        Some(Err(error)) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Some(Err(error)) => {
            let mut told = "the export is not complete".to_owned();
            if let Some(kept) = output.incomplete() {
                let how = if may_pass(&error) { GOES_ON } else { "" };
                told += &format!("; {kept}{how}");
            }
            Err(error.context(told))
        }
        None => {
            if let Some(kept) = output.incomplete() {
                tell(format_args!("interrupted; {kept}{GOES_ON}"));
            }
            Ok(ExitCode::from(shutdown::EXIT_INTERRUPTED))
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether the same again may go well: the server may be back, or the disk have room.
fn may_pass(error: &anyhow::Error) -> bool {
    let of_the_call = error.downcast_ref::<ClientError>();
    of_the_call.is_none_or(ClientError::retryable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Code;

    #[test]
    fn what_a_server_refuses_for_good_is_not_gone_on_with() {
        let of_the_call = |code, reason: &str| {
            anyhow::Error::new(ClientError {
                code,
                reason: reason.to_owned(),
                message: String::new(),
                retry_after: None,
                request_id: None,
            })
        };
        assert!(may_pass(&of_the_call(Code::Unavailable, "")));
        assert!(may_pass(&of_the_call(Code::Unavailable, "DRAINING")));
        let invalid = of_the_call(Code::InvalidArgument, "INVALID_REQUEST");
        assert!(!may_pass(&invalid));
        assert!(!may_pass(&of_the_call(Code::Internal, "INTERNAL")));
        let full = anyhow::Error::new(io::Error::from(io::ErrorKind::StorageFull));
        assert!(may_pass(&full.context("cannot write a.csv")));
    }
}
