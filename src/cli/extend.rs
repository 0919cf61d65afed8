//! `stockroom extend`: hold an order's units for longer.

use std::process::ExitCode;

use prost_types::Duration;

use super::change::{OrderChange, answered};
use super::values::parse_duration;
use crate::client::proto::ExtendHoldRequest;
use crate::config::Config;

/// Let an order hold its units for longer
///
/// The hold lasts for so long from now on, and the order is printed. A hold that would
/// last longer anyway stays as it is: none is ever shortened.
///
/// Examples:
///
///   # The payment takes its time
///   stockroom extend 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f --hold 30m
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExtendArgs {
    #[command(flatten)]
    change: OrderChange,
    /// How long from now on, such as 90s, 15m or 1h30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    hold: Duration,
}

pub(super) async fn run(args: ExtendArgs, config: Config) -> anyhow::Result<ExitCode> {
    let OrderChange { order_id, write } = args.change;
    let client = write.address.connect(&config, 1).await?;
    let request = ExtendHoldRequest {
        request_id: write.request_id.unwrap_or_default(),
        order_id,
        validate_only: write.validate_only,
        hold: Some(args.hold),
    };
    let answer = client.retrying().extend_hold(&request).await;
    answered(answer.map(|answer| (answer.order, answer.replayed)))
}
