//! What the commands that write have in common: their flags, and how they end.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;

use super::address::Address;
use super::print::{print, tell};
use crate::client::ClientError;

/// Under which key to write, whether to, and where.
#[derive(Debug, clap::Args)]
pub(super) struct WriteOptions {
    // One that is given and empty is a script's variable without a value: with a new id
    // instead, a repeat of the script would write again.
    /// The key that makes a repeat safe [default: a new one]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(super) request_id: Option<String>,
    /// Say what would become of it, and change nothing
    #[arg(long)]
    pub(super) validate_only: bool,
    #[command(flatten)]
    pub(super) address: Address,
}

/// Ends a command that sent a write: prints the lines of its answer. Of one that had been
/// answered before, which comes with them, `replay` says what the lines are then.
pub(super) fn answered(
    answer: Result<(Vec<String>, bool), ClientError>,
    replay: &str,
) -> anyhow::Result<ExitCode> {
    let (lines, replayed) = match answer {
        Ok(answer) => answer,
        Err(error) => return failed_write(error),
    };
    if replayed {
        tell(format_args!(
            "-- this request had been answered before{replay}"
        ));
    }
    print(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends a command that sent a write which failed: says how to learn what became of it,
/// where the error does not tell.
fn failed_write(error: ClientError) -> anyhow::Result<ExitCode> {
    if let Some(request_id) = error.request_id.as_ref().filter(|_| !error.is_refusal()) {
        tell(format_args!(
            "it may have been done; the same again with --request-id {request_id} tells"
        ));
    }
    Err(error.into())
}
