//! An event's body, for those who read events.

use prost::Message as _;

use super::{OrderCreated, StockLow, StockUpdated, Topic};

/// The message in an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A level changed.
    StockUpdated(StockUpdated),
    /// An order was made.
    OrderCreated(OrderCreated),
    /// A level has become low.
    StockLow(StockLow),
}

impl Body {
    /// Decodes the body of an event of `topic`.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(topic: Topic, body: &[u8]) -> Result<Self, prost::DecodeError> {
        Ok(match topic {
            Topic::StockUpdated => Self::StockUpdated(StockUpdated::decode(body)?),
            Topic::OrderCreated => Self::OrderCreated(OrderCreated::decode(body)?),
            Topic::StockLow => Self::StockLow(StockLow::decode(body)?),
        })
    }
}
