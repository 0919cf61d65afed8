//! The ledger: one row for each change of a level.

use super::{Invalid, LevelKey, Location, OrderId, RequestId, Timestamp, Version};

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
    /// The product's threshold or backorder limit changed, or it was put again; both deltas
    /// are 0.
    Threshold = 7,
    /// Units left for another location.
    TransferredOut = 8,
    /// Units came from another location.
    TransferredIn = 9,
    /// An order on hold reserved units.
    Reserved = 10,
    /// An order on hold was confirmed.
    Confirmed = 11,
    /// An order was cancelled.
    Cancelled = 12,
    /// A hold was over.
    Expired = 13,
    /// The product was deleted; both deltas are 0.
    Deleted = 14,
}

impl MovementKind {
    const ALL: [Self; 14] = [
        Self::Received,
        Self::Returned,
        Self::Damaged,
        Self::Count,
        Self::Correction,
        Self::Ordered,
        Self::Threshold,
        Self::TransferredOut,
        Self::TransferredIn,
        Self::Reserved,
        Self::Confirmed,
        Self::Cancelled,
        Self::Expired,
        Self::Deleted,
    ];

    /// The kind behind a stored number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i32 == number)
    }

    /// The kind behind a number that a caller gives to AdjustStock.
    ///
    /// # Errors
    /// Names those that [`is_adjustment`](Self::is_adjustment) lets through.
    pub fn of_adjustment(number: i32) -> Result<Self, Invalid> {
        let kind = Self::from_number(number).filter(|kind| kind.is_adjustment());
        let why = "must be RECEIVED, RETURNED, DAMAGED, COUNT or CORRECTION";
        kind.ok_or_else(|| Invalid(why.to_owned()))
    }

    /// Whether a caller may give it to AdjustStock.
    pub fn is_adjustment(self) -> bool {
        match self {
            Self::Received | Self::Returned | Self::Damaged | Self::Count | Self::Correction => {
                true
            }
            Self::Ordered
            | Self::Threshold
            | Self::TransferredOut
            | Self::TransferredIn
            | Self::Reserved
            | Self::Confirmed
            | Self::Cancelled
            | Self::Expired
            | Self::Deleted => false,
        }
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
    /// The request that caused it where no order did; none of what a product's change or
    /// end made.
    pub request_id: Option<RequestId>,
    /// The caller's note; may be empty.
    pub note: String,
    /// The other half of a transfer.
    pub counterpart: Option<Counterpart>,
}

/// The movement of the same SKU that is the other half of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterpart {
    /// Where.
    pub location: Location,
    /// The version that it made.
    pub version: Version,
}
