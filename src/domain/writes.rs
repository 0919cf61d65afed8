//! What a commit reads before it plans and what it writes after.
//!
//! Storage reads a [`LoadedLevel`] for each level and a [`StoredRequest`] for each repeat, and
//! stores the [`Writes`] that the engine plans on them.

use std::sync::Arc;

use super::{
    Fingerprint, LevelKey, Movement, Order, OrderId, RequestId, StockLevel, Timestamp, Version,
};

/// A level as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedLevel {
    /// The level; zeros at version 0 when there is no row.
    pub level: StockLevel,
    /// Whether the SKU is a product of the store.
    pub sku_known: bool,
}

/// A request that has been answered before.
#[derive(Debug, Clone)]
pub struct StoredRequest {
    /// Of the payload it was answered for.
    pub fingerprint: Fingerprint,
    /// What it made.
    pub answer: StoredAnswer,
}

/// What a stored request made.
#[derive(Debug, Clone)]
pub enum StoredAnswer {
    /// CreateOrder made it, or another call changed it; as it stands.
    Order(Arc<Order>),
    /// AdjustStock and the like: what each of its changes made, in their order.
    Movements(Vec<Arc<Movement>>),
}

/// What one transaction writes, all of it or nothing.
#[derive(Debug, Default)]
pub struct Writes {
    /// When: the time of everything in it.
    pub time: Timestamp,
    /// One for each accepted command.
    pub requests: Vec<RequestWrite>,
    /// New orders.
    pub orders: Vec<Arc<Order>>,
    /// Changed orders in ascending order of their ids.
    pub order_changes: Vec<OrderWrite>,
    /// New ledger rows; ascending versions within a level.
    pub movements: Vec<Arc<Movement>>,
    /// Changed levels in ascending order of their keys.
    pub levels: Vec<LevelWrite>,
    /// The events of all this, as `events` encodes them; none where they are off.
    pub outbox: Option<Vec<u8>>,
}

impl Writes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.order_changes.is_empty() && self.levels.is_empty()
    }

    /// Whether there is what one call of `commit_batch` does not write: requests with
    /// several movements.
    pub fn is_wide(&self) -> bool {
        self.requests.iter().any(|r| r.movements.len() > 1)
    }
}

/// An order as it becomes, and as it was: its version must still be stored.
#[derive(Debug, Clone)]
pub struct OrderWrite {
    /// What it replaces.
    pub before: Arc<Order>,
    /// What to store.
    pub after: Arc<Order>,
}

/// A request to remember.
#[derive(Debug)]
pub struct RequestWrite {
    /// The caller's key.
    pub request_id: RequestId,
    /// Of its payload.
    pub fingerprint: Fingerprint,
    /// The order it made or changed; none for adjustments.
    pub order_id: Option<OrderId>,
    /// The movements that adjustments made, in their order; none for an order.
    pub movements: Vec<(LevelKey, Version)>,
}

impl RequestWrite {
    /// The first of its movements, which `request` names.
    pub fn movement(&self) -> Option<&(LevelKey, Version)> {
        self.movements.first()
    }
}

/// A level's new values and the version they replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelWrite {
    /// The version that must still be stored; [`Version::NONE`] means no row.
    pub expected: Version,
    /// What to store.
    pub level: StockLevel,
}

/// A change of a level wherever it stands: what an `atomic` guard asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelTake {
    /// The level.
    pub key: LevelKey,
    /// Units to add to `on_hand`.
    pub on_hand_delta: i64,
    /// Units to add to `reserved`.
    pub reserved_delta: i64,
    /// Movements that make up the change.
    pub movements: i64,
}
