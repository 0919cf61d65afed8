//! Stock levels and products.

use std::fmt;

use super::{Location, Movement, Sku, Timestamp};

/// The number of movements that made a stock level.
///
/// 0 means that there is no row yet, 1 is the first movement. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(i64);

impl Version {
    /// Before the first movement.
    pub const NONE: Self = Self(0);

    /// Wraps a number that is 0 or more.
    pub fn new(number: i64) -> Self {
        debug_assert!(number >= 0, "versions begin at 0");
        Self(number)
    }

    /// The version that the next movement makes.
    #[must_use]
    pub fn next(self) -> Self {
        // At a million movements a second this takes 292,000 years to overflow.
        Self(self.0 + 1)
    }

    /// The number of movements.
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one stock level. Sorts as every lock is taken: by SKU, then location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelKey {
    /// What.
    pub sku: Sku,
    /// Where.
    pub location: Location,
}

impl fmt::Display for LevelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.sku, self.location)
    }
}

/// How much of a SKU is at a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLevel {
    /// What and where.
    pub key: LevelKey,
    /// Units physically there less those that orders have taken on backorder, at most
    /// [`StockLevel::UNITS_MAX`].
    pub on_hand: i64,
    /// Units promised to orders on hold, 0 or more. [`StockLevel::available`] is at or
    /// above `-backorder_limit`.
    pub reserved: i64,
    /// How many movements made it.
    pub version: Version,
    /// The product's threshold as of `version`; 0 means never low.
    pub low_stock_threshold: i64,
    /// The product's as of `version`: units by which orders may take more than there is.
    pub backorder_limit: i64,
    /// When the last movement happened; the epoch at version 0.
    pub updated: Timestamp,
}

impl StockLevel {
    /// Most units of one level. Leaves room for sums over a million levels in an `i64`.
    pub const UNITS_MAX: i64 = 1_000_000_000_000;

    /// Least units of one level: as many as may be on backorder, and nothing there.
    pub const ON_HAND_MIN: i64 = -Product::BACKORDER_UNITS_MAX;

    /// A level that has had no movement, of a product that leaves everything at its default.
    pub fn none(key: LevelKey) -> Self {
        Self {
            key,
            on_hand: 0,
            reserved: 0,
            version: Version::NONE,
            low_stock_threshold: 0,
            backorder_limit: 0,
            updated: Timestamp::default(),
        }
    }

    /// Brings it up to `movement`, which is one of its own, if it is older.
    pub fn catch_up(&mut self, movement: &Movement) {
        if movement.version > self.version {
            self.on_hand = movement.on_hand;
            self.reserved = movement.reserved;
            self.version = movement.version;
            self.updated = movement.time;
        }
    }

    /// Units that nobody has taken or reserved; below 0 while some are on backorder.
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// Units that orders can take or reserve: those that are available, and those that may
    /// go on backorder.
    pub fn room(&self) -> i64 {
        self.available().saturating_add(self.backorder_limit)
    }

    /// Whether an order can take or reserve so many units.
    pub fn can_take(&self, units: i64) -> bool {
        self.room() >= units
    }

    /// Whether the stock counts as low.
    pub fn low_stock(&self) -> bool {
        self.low_stock_threshold > 0 && self.available() <= self.low_stock_threshold
    }
}

/// What a SKU is called, when its stock counts as low, and how far orders may take it
/// below 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The SKU.
    pub sku: Sku,
    /// Its name for people; may be empty.
    pub display_name: String,
    /// Low at or below this many available units; 0 means never.
    pub low_stock_threshold: i64,
    /// Units by which orders may take more than is available, at each level; 0 means none.
    pub backorder_limit: i64,
}

impl Product {
    /// Longest name, in bytes.
    pub const DISPLAY_NAME_BYTES_MAX: usize = 255;

    /// Most units of a threshold.
    pub const THRESHOLD_UNITS_MAX: i64 = 1_000_000_000;

    /// Most units of a backorder limit.
    pub const BACKORDER_UNITS_MAX: i64 = 1_000_000_000;
}
