//! `stockroom adjust`: a change of stock for a reason other than an order.

use std::process::ExitCode;

use super::get::table;
use super::values::parse_level;
use super::write::{WriteOptions, answered};
use crate::client::proto::adjust_stock_request::Change;
use crate::client::proto::{AdjustStockRequest, MovementKind, StockKey};
use crate::config::Config;

/// Change what is on hand for a reason other than an order
///
/// Adds units, takes them away, or sets what was counted, and prints the level as it is
/// then. The change is written to the ledger with its kind and note. It is safe to repeat
/// with the same --request-id: the repeat changes nothing. Without one, an id is made,
/// and passing failures are retried under it.
///
/// Examples:
///
///   # A delivery
///   stockroom adjust 85123A --delta 100 --kind received --request-id delivery-17
///
///   # Three broken ones at York
///   stockroom adjust 22423@york --delta=-3 --kind damaged --note "fell off the shelf"
///
///   # The shelf was counted, as long as nobody has changed it since version 12
///   stockroom adjust 85123A --on-hand 97 --kind count --expected-version 12
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct AdjustArgs {
    /// The level; the location is main unless given
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level)]
    level: StockKey,
    /// Units to add; negative takes them away
    #[arg(
        long,
        value_name = "UNITS",
        allow_hyphen_values = true,
        required_unless_present = "on_hand"
    )]
    delta: Option<i64>,
    /// What shall be on hand; negative where more is owed than is there
    #[arg(
        long,
        value_name = "UNITS",
        allow_hyphen_values = true,
        conflicts_with = "delta"
    )]
    on_hand: Option<i64>,
    /// Why
    #[arg(long, value_enum)]
    kind: Kind,
    /// A note for the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
    /// Only if the level is at this version
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<i64>,
    #[command(flatten)]
    write: WriteOptions,
}

/// Why stock moved, as a caller may say.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Goods came in
    Received,
    /// A customer sent goods back
    Returned,
    /// Goods were found unfit for sale
    Damaged,
    /// Somebody counted the shelf
    Count,
    /// The books were wrong
    Correction,
}

impl From<Kind> for MovementKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Received => Self::Received,
            Kind::Returned => Self::Returned,
            Kind::Damaged => Self::Damaged,
            Kind::Count => Self::Count,
            Kind::Correction => Self::Correction,
        }
    }
}

pub(super) async fn run(args: AdjustArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.write.address.connect(&config, 1).await?;
    let request = AdjustStockRequest {
        request_id: args.write.request_id.unwrap_or_default(),
        sku: args.level.sku,
        location: args.level.location,
        change: args
            .delta
            .map(Change::Delta)
            .or(args.on_hand.map(Change::SetOnHand)),
        kind: MovementKind::from(args.kind).into(),
        note: args.note,
        expected_version: args.expected_version,
        validate_only: args.write.validate_only,
    };
    let answer = client.retrying().adjust_stock(&request).await;
    answered(
        answer.map(|it| (table(&it.level), it.replayed)),
        "; the level is as it is now",
    )
}
