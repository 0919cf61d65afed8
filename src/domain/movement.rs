//! The ledger: one row for each change of a level.

use super::request::Canonical;
use super::{Fingerprint, LevelKey, OrderId, RequestId, Timestamp, Version};

/// Why stock moved. The numbers are stored and are those of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MovementKind {
    /// Goods came in.
    Received = 1,
    /// A customer sent goods back.
    Returned = 2,
    /// Goods were found unfit for sale.
    Damaged = 3,
    /// Somebody counted the shelf.
    Count = 4,
    /// The books were wrong.
    Correction = 5,
    /// An order took units.
    Ordered = 6,
    /// The product's threshold changed; both deltas are 0.
    Threshold = 7,
}

impl MovementKind {
    /// The kind behind a stored number.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Received,
            2 => Self::Returned,
            3 => Self::Damaged,
            4 => Self::Count,
            5 => Self::Correction,
            6 => Self::Ordered,
            7 => Self::Threshold,
            _ => return None,
        })
    }

    /// Whether a caller may give it to AdjustStock.
    pub fn is_adjustment(self) -> bool {
        !matches!(self, Self::Ordered | Self::Threshold)
    }
}

/// One change of one level. Never changed, never deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The level.
    pub key: LevelKey,
    /// The version that it made.
    pub version: Version,
    /// Why.
    pub kind: MovementKind,
    /// Units added to `on_hand`.
    pub on_hand_delta: i64,
    /// Units added to `reserved`.
    pub reserved_delta: i64,
    /// `on_hand` after it.
    pub on_hand: i64,
    /// `reserved` after it.
    pub reserved: i64,
    /// When.
    pub time: Timestamp,
    /// The order that caused it.
    pub order_id: Option<OrderId>,
    /// The request that caused it where no order did; none for a changed threshold.
    pub request_id: Option<RequestId>,
    /// The caller's note; may be empty.
    pub note: String,
}

/// A change of stock to make for a reason other than an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The caller's key.
    pub request_id: RequestId,
    /// The level.
    pub key: LevelKey,
    /// By how much.
    pub change: Change,
    /// Why; one for which [`MovementKind::is_adjustment`] holds.
    pub kind: MovementKind,
    /// A note for the ledger; may be empty.
    pub note: String,
    /// The version that the caller saw; none means any.
    pub expected_version: Option<Version>,
}

/// How `on_hand` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Units to add; not 0.
    Delta(i64),
    /// What it shall be.
    SetOnHand(i64),
}

impl Adjustment {
    /// Largest change in either direction, in units.
    pub const DELTA_MAX: i64 = 1_000_000_000;

    /// Longest note, in bytes.
    pub const NOTE_BYTES_MAX: usize = 512;

    /// The fingerprint of what is asked for.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut canonical = Canonical::new("AdjustStock");
        canonical.text(1, self.key.sku.as_str());
        canonical.text(2, self.key.location.as_str());
        match self.change {
            Change::Delta(units) => canonical.number(3, units),
            Change::SetOnHand(units) => canonical.number(4, units),
        }
        canonical.number(5, self.kind as i64);
        canonical.text(6, &self.note);
        if let Some(version) = self.expected_version {
            canonical.number(7, version.number());
        }
        canonical.finish()
    }
}
