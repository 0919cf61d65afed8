//! `stockroom cancel`: take an order back.

use std::process::ExitCode;

use super::change::{OrderChange, answered};
use crate::client::proto::CancelOrderRequest;
use crate::config::Config;

/// Cancel an order
///
/// What it held is free again; what it had taken comes back to the shelf, unless
/// --no-restock says that it does not. The order is printed; it is not deleted.
///
/// Examples:
///
///   # The customer changed her mind
///   stockroom cancel 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f --reason "ordered twice"
///
///   # Taken back, but the goods were lost on their way
///   stockroom cancel 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f --reason lost --no-restock
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    change: OrderChange,
    /// Why, for the order and the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// The goods of a confirmed order do not come back
    #[arg(long)]
    no_restock: bool,
}

pub(super) async fn run(args: CancelArgs, config: Config) -> anyhow::Result<ExitCode> {
    let OrderChange { order_id, write } = args.change;
    let client = write.address.connect(&config, 1).await?;
    let request = CancelOrderRequest {
        request_id: write.request_id.unwrap_or_default(),
        order_id,
        validate_only: write.validate_only,
        reason: args.reason,
        restock: Some(!args.no_restock),
    };
    let answer = client.retrying().cancel_order(&request).await;
    answered(answer.map(|answer| (answer.order, answer.replayed)))
}
