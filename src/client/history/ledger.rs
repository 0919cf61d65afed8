//! The truth that histories are compared with.

use std::collections::HashMap;

use super::Value;
use crate::client::levels::Levels;
use crate::client::proto::{Movement, StockLevel};

/// What every version of every level was, as far as it is known: from the ledger
/// of movements, from the levels as they are at the end, or from both.
#[derive(Debug, Default)]
pub struct Ledger {
    pub(super) levels: Levels<Entry>,
}

/// What is known of a level.
#[derive(Debug, Default)]
pub(super) struct Entry {
    values: HashMap<i64, Value>,
    pub(super) last: i64,
    /// Whether it is low at its last version; none when only movements are known.
    pub(super) low_stock: Option<bool>,
}

impl Entry {
    pub(super) fn at(&self, version: i64) -> Option<Value> {
        self.values.get(&version).copied()
    }

    fn add(&mut self, value: Value) -> bool {
        self.values.insert(value.version, value);
        let is_last = value.version >= self.last;
        self.last = self.last.max(value.version);
        is_last
    }
}

impl Ledger {
    /// Adds a row of the ledger.
    pub fn movement(&mut self, movement: &Movement) {
        let entry = self.levels.entry(&movement.sku, &movement.location);
        entry.add(Value {
            version: movement.version,
            on_hand: movement.on_hand,
            reserved: movement.reserved,
        });
    }

    /// Adds a level as it is in the end.
    pub fn level(&mut self, level: &StockLevel) {
        let entry = self.levels.entry(&level.sku, &level.location);
        if entry.add(value_of(level)) {
            entry.low_stock = Some(level.low_stock);
        }
    }

    /// The last version of a level; 0 when it is not known.
    pub fn last(&self, sku: &str, location: &str) -> i64 {
        self.levels.get(sku, location).map_or(0, |entry| entry.last)
    }
}

pub(super) fn value_of(level: &StockLevel) -> Value {
    Value {
        version: level.version,
        on_hand: level.on_hand,
        reserved: level.reserved,
    }
}
