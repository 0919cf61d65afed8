//! An event's body, for those who read events.

use prost::Message as _;

use super::{
    OrderCancelled, OrderConfirmed, OrderCreated, OrderExpired, StockLow, StockUpdated, Topic,
};

/// The message in an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A level changed.
    StockUpdated(StockUpdated),
    /// An order was made.
    OrderCreated(OrderCreated),
    /// A level has become low.
    StockLow(StockLow),
    /// An order on hold was confirmed.
    OrderConfirmed(OrderConfirmed),
    /// An order was cancelled.
    OrderCancelled(OrderCancelled),
    /// A hold was over.
    OrderExpired(OrderExpired),
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
            Topic::OrderConfirmed => Self::OrderConfirmed(OrderConfirmed::decode(body)?),
            Topic::OrderCancelled => Self::OrderCancelled(OrderCancelled::decode(body)?),
            Topic::OrderExpired => Self::OrderExpired(OrderExpired::decode(body)?),
        })
    }
}
