//! `stockroom confirm`: take what an order holds.

use std::process::ExitCode;

use super::change::{OrderChange, answered};
use crate::client::proto::ConfirmOrderRequest;
use crate::config::Config;

/// Confirm an order that was placed with a hold
///
/// What it reserved leaves the stock, and the order is printed. An order that was
/// cancelled, or whose hold has ended, cannot be confirmed any more.
///
/// Examples:
///
///   # The customer has paid
///   stockroom confirm 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f --request-id payment-4711
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ConfirmArgs {
    #[command(flatten)]
    change: OrderChange,
}

pub(super) async fn run(args: ConfirmArgs, config: Config) -> anyhow::Result<ExitCode> {
    let OrderChange { order_id, write } = args.change;
    let client = write.address.connect(&config, 1).await?;
    let request = ConfirmOrderRequest {
        request_id: write.request_id.unwrap_or_default(),
        order_id,
        validate_only: write.validate_only,
    };
    let answer = client.retrying().confirm_order(&request).await;
    answered(answer.map(|answer| (answer.order, answer.replayed)))
}
