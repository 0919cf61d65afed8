//! What planning knows of a level and asks of it.

use crate::domain::{LevelWrite, Movement, MovementKind, StockLevel, Timestamp, Trace, Version};
use crate::events::{Causes, StockChange};

/// Units that a movement adds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delta {
    pub(super) on_hand: i64,
    pub(super) reserved: i64,
}

impl Delta {
    pub(super) fn on_hand(on_hand: i64) -> Self {
        let reserved = 0;
        Self { on_hand, reserved }
    }

    pub(super) fn reserved(reserved: i64) -> Self {
        let on_hand = 0;
        Self { on_hand, reserved }
    }
}

/// A level that may be planned on.
#[derive(Debug)]
pub(super) struct Known {
    /// The version that must still be stored when the batch is written.
    pub(super) expected: Version,
    pub(super) sku_known: bool,
    pub(super) level: StockLevel,
    available_before: i64,
    low_before: bool,
    /// Why it has moved since.
    causes: Causes,
    /// Who moved it first.
    pub(super) trace: Option<Trace>,
}

impl Known {
    pub(super) fn new(level: StockLevel, sku_known: bool) -> Self {
        Self {
            expected: level.version,
            sku_known,
            available_before: level.available(),
            // What has never had stock cannot become low.
            low_before: level.version == Version::NONE || level.low_stock(),
            causes: Causes::default(),
            trace: None,
            level,
        }
    }

    /// Moves the level on by one version and writes down how. The caller has checked
    /// the bounds.
    pub(super) fn step(&mut self, kind: MovementKind, delta: Delta, now: Timestamp) -> Movement {
        let level = &mut self.level;
        let takes = delta.on_hand < 0 || delta.reserved > 0;
        if takes && (level.version == Version::NONE || !level.low_stock()) {
            // What becomes low here must be told, though it was low when the batch began and
            // has got units within it, or has been sold before it was ever there.
            self.low_before = false;
        }
        level.on_hand += delta.on_hand;
        level.reserved += delta.reserved;
        level.version = level.version.next();
        level.updated = now;
        self.causes.add(kind);
        Movement {
            key: level.key.clone(),
            version: level.version,
            kind,
            on_hand_delta: delta.on_hand,
            reserved_delta: delta.reserved,
            on_hand: level.on_hand,
            reserved: level.reserved,
            time: now,
            order_id: None,
            request_id: None,
            note: String::new(),
            counterpart: None,
        }
    }

    /// What became of it, for its event.
    pub(super) fn change(&self) -> StockChange<'_> {
        StockChange {
            level: &self.level,
            first: self.expected.next(),
            available_before: self.available_before,
            low_before: self.low_before,
            causes: self.causes,
            trace: self.trace.expect("whoever moved it has a trace"),
        }
    }

    pub(super) fn into_write(self) -> LevelWrite {
        LevelWrite {
            expected: self.expected,
            level: self.level,
        }
    }
}
