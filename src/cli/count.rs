//! `stockroom count`: what somebody found on the shelf.

use std::process::ExitCode;

use super::get::table;
use super::values::parse_level;
use super::write::{WriteOptions, answered};
use crate::client::proto::{CountStockRequest, StockKey};
use crate::config::Config;

/// Set what is on hand to what was counted, unless it has changed since
///
/// Takes the version that `stockroom get` showed when the count began: if anything has
/// moved the level since, nothing is changed and the shelf is to be counted again. It is
/// safe to repeat with the same --request-id.
///
/// Examples:
///
///   # 97 were there, and nobody has sold one since version 12
///   stockroom count 85123A --on-hand 97 --expected-version 12
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CountArgs {
    /// The level; the location is main unless given
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level)]
    level: StockKey,
    /// What was counted, less what confirmed orders have on backorder
    #[arg(long, value_name = "UNITS", allow_hyphen_values = true)]
    on_hand: i64,
    /// The level's version when the count began
    #[arg(long, value_name = "VERSION")]
    expected_version: i64,
    /// A note for the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    write: WriteOptions,
}

pub(super) async fn run(args: CountArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.write.address.connect(&config, 1).await?;
    let request = CountStockRequest {
        request_id: args.write.request_id.unwrap_or_default(),
        sku: args.level.sku,
        location: args.level.location,
        on_hand: args.on_hand,
        expected_version: Some(args.expected_version),
        note: args.note,
        validate_only: args.write.validate_only,
    };
    let answer = client.retrying().count_stock(&request).await;
    answered(
        answer.map(|it| (table(&it.level), it.replayed)),
        "; the level is as it is now",
    )
}
