//! What the commands that change an order have in common.

use std::process::ExitCode;

use super::orders;
use super::write::{self, WriteOptions};
use crate::client::ClientError;
use crate::client::proto::Order;

/// Which order to change, and how.
#[derive(Debug, clap::Args)]
pub(super) struct OrderChange {
    /// The order's id
    #[arg(value_name = "ORDER")]
    pub(super) order_id: String,
    #[command(flatten)]
    pub(super) write: WriteOptions,
}

/// Prints the order that a change answered with: the order, and whether it is a replay.
pub(super) fn answered(
    answer: Result<(Option<Order>, bool), ClientError>,
) -> anyhow::Result<ExitCode> {
    write::answered(
        answer.map(|(order, replayed)| (orders::whole(&order.unwrap_or_default()), replayed)),
        "; the order is as it is now",
    )
}
