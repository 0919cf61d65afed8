//! What happens to a watch, and to its connection.

use std::time::Duration;

use super::ClientError;
use super::proto::{GoodbyeReason, StockLevel};

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A stream began, the first one or after an interruption.
    Started {
        /// The store that the versions belong to.
        store_id: String,
    },
    /// Levels that are newer than what was told before; at least one.
    Changes {
        /// The levels.
        levels: Vec<StockLevel>,
        /// The store fell back: forget what you know of these levels. The only
        /// time a version may fall.
        reset: bool,
    },
    /// Everything that happened before the stream began has been told.
    Synced,
    /// Nothing happened for a while.
    Heartbeat,
    /// The server ends the stream; the watch goes on by itself.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
        /// When the watch connects again.
        reconnect_after: Duration,
    },
    /// The stream broke or could not begin; the watch goes on by itself.
    Interrupted {
        /// Why.
        error: ClientError,
        /// When the watch connects again.
        reconnect_after: Duration,
    },
}
