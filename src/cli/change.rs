//! What the commands that change an order have in common.

use std::process::ExitCode;

use super::address::Address;
use super::level;
use super::orders;
use crate::client::ClientError;
use crate::client::proto::Order;

/// Which order to change, and under which key.
#[derive(Debug, clap::Args)]
pub(super) struct OrderChange {
    /// The order's id
    #[arg(value_name = "ORDER")]
    pub(super) order_id: String,
    /// The key that makes a repeat safe [default: a new one]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(super) request_id: String,
    /// Say what would become of it, and change nothing
    #[arg(long)]
    pub(super) validate_only: bool,
    #[command(flatten)]
    pub(super) address: Address,
}

/// Prints the order that a change answered with: the order, and whether it is a replay.
pub(super) fn answered(
    answer: Result<(Option<Order>, bool), ClientError>,
) -> anyhow::Result<ExitCode> {
    level::answered(
        answer.map(|(order, replayed)| (orders::whole(&order.unwrap_or_default()), replayed)),
        "; the order is as it is now",
    )
}
