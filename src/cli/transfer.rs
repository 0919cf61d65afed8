//! `stockroom transfer`: move units from one location to another.

use std::process::ExitCode;

use super::get::table;
use super::write::{WriteOptions, answered};
use crate::client::proto::{TransferLine, TransferStockRequest};
use crate::config::Config;

/// Move units from one location to another
///
/// Moves every line or none of them, and prints the levels as they are then. The ledger
/// gets two movements a line, which name each other. It is safe to repeat with the same
/// --request-id: the repeat changes nothing. Without one, an id is made, and passing
/// failures are retried under it.
///
/// Examples:
///
///   # A van to York
///   stockroom transfer 85123A=40 22423=12 --to york --note "van 7"
///
///   # And what nobody bought there
///   stockroom transfer 85123A=3 --from york --to main
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct TransferArgs {
    /// What to move
    #[arg(value_name = "SKU=UNITS", value_parser = parse_line, required = true)]
    lines: Vec<TransferLine>,
    /// Where the units leave
    #[arg(long, value_name = "LOCATION", default_value = "main")]
    from: String,
    /// Where they come to
    #[arg(long, value_name = "LOCATION")]
    to: String,
    /// A note for the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    write: WriteOptions,
}

fn parse_line(text: &str) -> Result<TransferLine, &'static str> {
    let line = text.split_once('=');
    let (sku, quantity) = line.ok_or("write SKU=UNITS")?;
    Ok(TransferLine {
        sku: sku.to_owned(),
        quantity: quantity.parse().map_err(|_| "write SKU=UNITS")?,
    })
}

pub(super) async fn run(args: TransferArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.write.address.connect(&config, 1).await?;
    let request = TransferStockRequest {
        request_id: args.write.request_id.unwrap_or_default(),
        from_location: args.from,
        to_location: args.to,
        lines: args.lines,
        note: args.note,
        validate_only: args.write.validate_only,
    };
    let answer = client.retrying().transfer_stock(&request).await;
    answered(
        answer.map(|it| (table(&it.levels), it.replayed)),
        "; the levels are as they are now",
    )
}
