//! Encoding the events of a commit while it is planned.
//!
//! It happens once an order, on the engine's thread, so it makes one buffer and few
//! allocations. The form of a row, which [`super::row`] reads: the form's number, then
//! for each event its topic, its trace, its key and its body, the last two after their
//! lengths.

use prost::Message;
use prost::encoding::encode_varint;

use super::Topic;
use super::body;
use super::row::FORM;
use crate::domain::{MovementKind, Order, OrderState, StockLevel, Trace, Version};

/// What an order's event takes, about: the buffer of a batch grows a few times.
const EVENT_BYTES: usize = 512;

/// The events of a commit that is being planned.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
}

/// What a commit does to one level.
#[derive(Debug)]
pub struct StockChange<'a> {
    /// The level after it.
    pub level: &'a StockLevel,
    /// The first version that it made.
    pub first: Version,
    /// Units that were available before.
    pub available_before: i64,
    /// Whether the level counted as low before, or had never had stock.
    pub low_before: bool,
    /// Why it moved, each kind once.
    pub causes: Causes,
    /// Who asked for it first.
    pub trace: Trace,
}

/// A set of movement kinds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Causes(u32);

impl Causes {
    /// Adds a kind.
    pub fn add(&mut self, kind: MovementKind) {
        self.0 |= 1 << kind as u16;
    }

    /// The kinds in ascending order.
    pub(super) fn kinds(self) -> impl Iterator<Item = i32> {
        (0..32).filter(move |kind| self.0 & (1 << kind) != 0)
    }
}

impl Draft {
    /// No event yet.
    #[expect(clippy::new_without_default, reason = "an empty draft is no value")]
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(EVENT_BYTES);
        bytes.push(FORM);
        Self { bytes }
    }

    /// An order was made.
    pub fn order_created(&mut self, order: &Order, trace: Trace) {
        let key = order.order_id.0.as_bytes();
        self.add(Topic::OrderCreated, trace, key, &body::order_created(order));
    }

    /// An order changed, in a way that others are told of.
    pub fn order_changed(&mut self, before: &Order, after: &Order, trace: Trace) {
        let key = after.order_id.0.as_bytes();
        match after.state {
            OrderState::Pending => {}
            OrderState::Confirmed => {
                let confirmed = body::order_confirmed(after);
                self.add(Topic::OrderConfirmed, trace, key, &confirmed);
            }
            OrderState::Cancelled => {
                let cancelled = body::order_cancelled(before, after);
                self.add(Topic::OrderCancelled, trace, key, &cancelled);
            }
            OrderState::Expired => {
                let expired = body::order_expired(after);
                self.add(Topic::OrderExpired, trace, key, &expired);
            }
        }
    }

    /// A level changed.
    pub fn stock_changed(&mut self, change: &StockChange<'_>) {
        let key = change.level.key.sku.as_str().as_bytes();
        let updated = body::stock_updated(change);
        self.add(Topic::StockUpdated, change.trace, key, &updated);
        if change.level.low_stock() && !change.low_before {
            self.add(Topic::StockLow, change.trace, key, &body::stock_low(change));
        }
    }

    /// The row; none if there is no event.
    pub fn finish(self) -> Option<Vec<u8>> {
        // The form is no event.
        (self.bytes.len() > 1).then_some(self.bytes)
    }

    fn add(&mut self, topic: Topic, trace: Trace, key: &[u8], body: &impl Message) {
        self.bytes.push(topic as u8);
        self.bytes.extend_from_slice(&trace.to_bytes());
        encode_varint(key.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(key);
        body.encode_length_delimited(&mut self.bytes)
            .expect("a Vec grows as far as it must");
    }
}
