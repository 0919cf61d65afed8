//! Orders: what is asked for and what is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

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
    /// To reserve instead of taking at once.
    pub hold: Option<Hold>,
}

/// How long an order reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What the caller asked for, in microseconds.
    pub length_us: i64,
    /// When it is over, by the database's clock.
    pub expires: Timestamp,
}

impl Hold {
    /// Shortest hold: what is over sooner is over before anybody could confirm it.
    pub const LENGTH_MIN_US: i64 = 1_000_000;

    /// Of this length; when it begins is for the engine to say.
    pub fn of(length_us: i64) -> Self {
        let expires = Timestamp::default();
        Self { length_us, expires }
    }

    /// Lets it begin at `now`, by the database's clock.
    pub fn begin(&mut self, now: Timestamp) {
        self.expires = Timestamp::from_us(now.us() + self.length_us);
    }
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

    /// Longest name of a customer, in bytes.
    pub const CUSTOMER_REF_BYTES_MAX: usize = 128;

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
        if let Some(hold) = &self.hold {
            canonical.number(7, hold.length_us);
        }
        canonical.finish()
    }
}

/// Where an order is in its life. The numbers are stored and are those of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// The units have left `on_hand`.
    Confirmed = 1,
    /// The units are reserved.
    Pending = 2,
    /// Somebody took it back.
    Cancelled = 3,
    /// Its hold was over before anybody confirmed it.
    Expired = 4,
}

impl OrderState {
    const ALL: [Self; 4] = [
        Self::Confirmed,
        Self::Pending,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The state behind a stored number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// As callers see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Pending => "PENDING",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of an order that is there.
#[derive(Debug, Clone)]
pub struct OrderChange {
    /// The order as it was read, or as an own commit left it: its lines never change.
    pub order: Arc<Order>,
    /// The caller's key; none for the end of a hold, which nobody asks for.
    pub request_id: Option<RequestId>,
    /// What becomes of it.
    pub transition: Transition,
}

/// What becomes of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// What it holds is taken.
    Confirm,
    /// It is taken back.
    Cancel {
        /// Why; may be empty.
        reason: String,
        /// Whether units that had left come back.
        restock: bool,
    },
    /// It holds for longer.
    Extend(Hold),
    /// Its hold is over, if it was at this moment, by the database's clock.
    Expire(Timestamp),
}

impl OrderChange {
    /// The fingerprint of what is asked for.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut canonical = Canonical::new(match self.transition {
            Transition::Confirm => "ConfirmOrder",
            Transition::Cancel { .. } => "CancelOrder",
            Transition::Extend(_) => "ExtendHold",
            Transition::Expire(_) => "Expire",
        });
        canonical.text(1, &self.order.order_id.to_string());
        match &self.transition {
            Transition::Cancel { reason, restock } => {
                canonical.text(2, reason);
                if !restock {
                    canonical.number(3, 0);
                }
            }
            Transition::Extend(hold) => canonical.number(2, hold.length_us),
            Transition::Confirm | Transition::Expire(_) => {}
        }
        canonical.finish()
    }
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
    /// When its hold is over; some while it is pending.
    pub expires: Option<Timestamp>,
    /// Why it was cancelled; may be empty.
    pub cancel_reason: String,
    /// For each later change that moved stock, the versions that it made of the order's
    /// levels, these in ascending order.
    pub moved: Vec<Vec<Version>>,
}

impl Order {
    /// Most movements of one order: when it is made, confirmed and cancelled.
    pub const MOVEMENTS_MAX: usize = 3 * NewOrder::LINES_MAX;

    /// What it reserves or took of each of its levels, these in ascending order.
    pub fn units_by_level(&self) -> BTreeMap<&LevelKey, i64> {
        let mut units = BTreeMap::new();
        for line in &self.lines {
            *units.entry(&line.key).or_default() += line.quantity.units();
        }
        units
    }

    /// The movements that it made, in ascending (sku, location, version).
    pub fn movements(&self) -> BTreeSet<(&LevelKey, Version)> {
        // Lines of one level share a movement.
        let made = self.lines.iter().map(|line| (&line.key, line.version));
        let mut movements: BTreeSet<_> = made.collect();
        for versions in &self.moved {
            let levels = self.units_by_level().into_keys();
            movements.extend(levels.zip(versions.iter().copied()));
        }
        movements
    }

    /// The version that it last made of each of its levels, these in ascending order, if any
    /// change has moved stock since it was made.
    pub fn last_moved(&self) -> Vec<(&LevelKey, Version)> {
        let Some(last) = self.moved.last() else {
            return Vec::new();
        };
        let levels = self.units_by_level().into_keys();
        levels.zip(last.iter().copied()).collect()
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// What and where.
    pub key: LevelKey,
    /// How many.
    pub quantity: Quantity,
    /// The version that the order made of the level when it was made.
    pub version: Version,
    /// Units of `quantity` that were not available when the order was made, and went on
    /// backorder. Never changes: what comes in later fills no order in particular.
    pub backordered: i64,
}
