//! Events: what a commit tells other systems, and how a row of the outbox holds it.
//!
//! Owns the bodies (`proto/stockroom/v1/events.proto`), the topics, and the form of a
//! row: all events of one commit, encoded while it is planned, so that nothing is read
//! back from tables later. Leaves rows to `storage` and sending to `relay`.

mod body;
mod draft;
mod level;
mod row;
mod told;

pub use draft::{Causes, Draft, StockChange};
pub use level::updated_level;
pub use row::{Corrupt, Event, Key, Row};
pub use told::Body;

pub use crate::proto::{
    OrderCancelled, OrderConfirmed, OrderCreated, OrderExpired, StockLow, StockUpdated,
};

/// What an event is about. The numbers stand in rows of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A level changed; keyed by SKU.
    StockUpdated = 1,
    /// An order was made; keyed by order id.
    OrderCreated = 2,
    /// A level has become low; keyed by SKU.
    StockLow = 3,
    /// An order on hold was confirmed; keyed by order id.
    OrderConfirmed = 4,
    /// An order was cancelled; keyed by order id.
    OrderCancelled = 5,
    /// A hold was over; keyed by order id.
    OrderExpired = 6,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::StockUpdated,
        Self::OrderCreated,
        Self::StockLow,
        Self::OrderConfirmed,
        Self::OrderCancelled,
        Self::OrderExpired,
    ];

    /// The topic's name, after the prefix that the configuration gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::StockUpdated => "product.stock.updated",
            Self::OrderCreated => "order.created",
            Self::StockLow => "stock.low",
            Self::OrderConfirmed => "order.confirmed",
            Self::OrderCancelled => "order.cancelled",
            Self::OrderExpired => "order.expired",
        }
    }

    /// The name of its messages, which is the CloudEvents type too.
    pub fn message(self) -> &'static str {
        match self {
            Self::StockUpdated => "stockroom.v1.StockUpdated",
            Self::OrderCreated => "stockroom.v1.OrderCreated",
            Self::StockLow => "stockroom.v1.StockLow",
            Self::OrderConfirmed => "stockroom.v1.OrderConfirmed",
            Self::OrderCancelled => "stockroom.v1.OrderCancelled",
            Self::OrderExpired => "stockroom.v1.OrderExpired",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| *topic as u8 == number)
    }
}
