//! Orders: what is asked for and what is made.

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use super::request::Canonical;
use super::{Fingerprint, LevelKey, Quantity, RequestId, Timestamp, Version};

/// An order's id: a UUID version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order to place. The id enters with it, so that planning it twice makes
/// the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The id that the order gets if it is accepted.
    pub order_id: OrderId,
    /// The caller's key.
    pub request_id: RequestId,
    /// What to take: 1 to [`NewOrder::LINES_MAX`] lines, in the caller's order.
    pub lines: Vec<NewOrderLine>,
    /// The caller's name for the customer; may be empty.
    pub customer_ref: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
}

/// One line of an order to place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrderLine {
    /// What and where.
    pub key: LevelKey,
    /// How many.
    pub quantity: Quantity,
}

impl NewOrder {
    /// Most lines of one order.
    pub const LINES_MAX: usize = 1_000;

    /// The fingerprint of what is asked for; `order_id` is ours and no part of it.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut canonical = Canonical::new("CreateOrder");
        for line in &self.lines {
            canonical.text(1, line.key.sku.as_str());
            canonical.text(2, line.key.location.as_str());
            canonical.number(3, line.quantity.units());
        }
        canonical.text(4, &self.customer_ref);
        for (key, value) in &self.labels {
            canonical.text(5, key);
            canonical.text(6, value);
        }
        canonical.finish()
    }
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// The units have left `on_hand`.
    Confirmed,
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub order_id: OrderId,
    /// The request that made it.
    pub request_id: RequestId,
    /// Where it is in its life.
    pub state: OrderState,
    /// Its lines, in the caller's order.
    pub lines: Vec<OrderLine>,
    /// The caller's name for the customer; may be empty.
    pub customer_ref: String,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Counts its changes, from 1.
    pub version: i64,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// What and where.
    pub key: LevelKey,
    /// How many.
    pub quantity: Quantity,
    /// The version that the order made of the level.
    pub version: Version,
}
