//! What a watcher holds of each level, and the rules about versions and values.

use std::cmp::Ordering;

use super::ledger::{Entry, Ledger, value_of};
use super::report::Report;
use super::violation::{Fault, Value};
use crate::client::WatchTargets;
use crate::client::levels::Levels;
use crate::client::proto::{SeenLevel, StockLevel};
use crate::client::targets::Selection;

/// Everything that came, the last value of each level or all of them.
#[derive(Debug)]
pub(super) struct Holdings {
    selection: Selection,
    every_change: bool,
    keeps_values: bool,
    /// The store that the levels belong to.
    store_id: String,
    /// The stream that is read, counted from 1.
    stream: u64,
    levels: Levels<Held>,
}

/// One level.
#[derive(Debug, Default)]
struct Held {
    /// The value that came last, whatever the stream.
    last: Option<Value>,
    /// Whether that value was low.
    low_stock: bool,
    /// The version that the next one on the stream must be above.
    bound: i64,
    /// The stream that `bound` holds for: on another one nothing is known yet.
    bound_in: u64,
    /// The last stream whose request named this level as seen.
    seen_in: u64,
    /// Every value that came, if they are kept.
    kept: Vec<Value>,
}

impl Held {
    /// The last version that the watcher has, or said it has.
    fn version(&self, stream: u64) -> Option<i64> {
        let said = (self.seen_in == stream).then_some(self.bound);
        self.last.map(|value| value.version).max(said)
    }
}

impl Holdings {
    pub(super) fn new(targets: &WatchTargets) -> Self {
        Self {
            selection: targets.selection(),
            every_change: targets.wants_every_change(),
            keeps_values: false,
            store_id: String::new(),
            stream: 0,
            levels: Levels::default(),
        }
    }

    pub(super) fn keep_values(&mut self) {
        self.keeps_values = true;
    }

    pub(super) fn began(&mut self, stream: u64, seen: &[SeenLevel]) {
        self.stream = stream;
        for level in seen {
            let held = self.levels.entry(&level.sku, &level.location);
            (held.bound, held.bound_in, held.seen_in) = (level.version, stream, stream);
        }
    }

    /// Versions of another store mean nothing.
    pub(super) fn expect_store(&mut self, store_id: &str) {
        if store_id.is_empty() || store_id == self.store_id {
            return;
        }
        if !self.store_id.is_empty() {
            self.levels = Levels::default();
        }
        store_id.clone_into(&mut self.store_id);
    }

    pub(super) fn store_id(&self) -> &str {
        &self.store_id
    }

    pub(super) fn take(&mut self, level: &StockLevel, reset: bool, report: &mut Report) {
        let (sku, location) = (&level.sku, &level.location);
        let (held, is_new) = match self.levels.get_mut(sku, location) {
            Some(held) => (held, false),
            None => (self.levels.entry(sku, location), true),
        };
        let name = || name(sku, location);
        let (value, version) = (value_of(level), level.version);
        let bound = (held.bound_in == self.stream).then_some(held.bound);
        report.levels += 1;
        let before = held.last.map(|value| value.version).max(bound);
        report.versions += u64::try_from(version - before.unwrap_or(0)).unwrap_or(0);
        if reset {
            report.resets += 1;
            // What came before is void: the store does not know it any more.
            held.kept.clear();
        }
        if is_new && !self.selection.low() && !self.selection.always(sku, location) {
            report.violation_of(name, Fault::NotSelected);
        }
        if let Some(bound) = bound.filter(|_| !reset)
            && let Some(fault) = misplaced(bound, version, self.every_change)
        {
            report.violation_of(name, fault);
        }
        if cannot_be(level, self.every_change) {
            let (sent, is) = (value, None);
            report.violation_of(name, Fault::WrongValue { sent, is });
        }
        match held.last {
            Some(last) if last.version == version && last != value && !reset => {
                let is = Some(last);
                report.violation_of(name, Fault::WrongValue { sent: value, is });
            }
            // An old value that came late is not the last one.
            Some(last) if last.version > version && !reset => {}
            _ => (held.last, held.low_stock) = (Some(value), level.low_stock),
        }
        held.bound = match bound.filter(|_| !reset) {
            Some(bound) => bound.max(version),
            None => version,
        };
        held.bound_in = self.stream;
        if self.keeps_values {
            held.kept.push(value);
        }
    }

    /// A value that was not sent on the stream, whose versions it says nothing about.
    pub(super) fn learn(&mut self, level: &StockLevel, reset: bool) {
        let held = self.levels.entry(&level.sku, &level.location);
        let value = value_of(level);
        if reset {
            held.kept.clear();
        } else if held.last.is_some_and(|last| last.version >= value.version) {
            return;
        }
        (held.last, held.low_stock) = (Some(value), level.low_stock);
        if self.keeps_values {
            held.kept.push(value);
        }
    }

    /// The snapshot is said to be complete.
    pub(super) fn synced(&self, report: &mut Report) {
        for (sku, location) in self.selection.named() {
            let held = self.levels.get(sku, location);
            if held.is_none_or(|held| held.bound_in != self.stream) {
                report.violation_of(|| name(sku, location), Fault::SnapshotIncomplete);
            }
        }
    }

    pub(super) fn seen(&self) -> Vec<SeenLevel> {
        let levels = self.levels.iter().filter_map(|(sku, location, held)| {
            Some(SeenLevel {
                sku: sku.to_owned(),
                location: location.to_owned(),
                version: held.version(self.stream)?,
            })
        });
        levels.collect()
    }

    pub(super) fn version(&self, sku: &str, location: &str) -> Option<i64> {
        self.levels.get(sku, location)?.version(self.stream)
    }

    /// The levels whose last value has not come, with the version that is held.
    pub(super) fn missing<'a>(
        &'a self,
        truth: &'a Ledger,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Entry, Option<i64>)> {
        truth.levels.iter().filter_map(|(sku, location, entry)| {
            let held = self.levels.get(sku, location);
            let version = held.and_then(|held| held.version(self.stream));
            let is_behind = version.is_none_or(|version| version < entry.last);
            let is_due = is_behind && self.is_due(sku, location, entry, held);
            is_due.then_some((sku, location, entry, version))
        })
    }

    /// Whether the level's last value has to be sent.
    fn is_due(&self, sku: &str, location: &str, entry: &Entry, held: Option<&Held>) -> bool {
        if self.selection.always(sku, location) {
            return true;
        }
        let named_as_seen = held.is_some_and(|held| held.seen_in == self.stream);
        // A level that was low is sent until it no longer is, that included.
        let low = || entry.low_stock == Some(true) || held.is_some_and(|held| held.low_stock);
        named_as_seen || self.selection.low() && low()
    }

    pub(super) fn compare(&self, truth: &Ledger, report: &mut Report) {
        for (sku, location, entry, held) in self.missing(truth) {
            let last = entry.last;
            report.violation_of(|| name(sku, location), Fault::LastMissing { held, last });
        }
        for (sku, location, held) in self.levels.iter() {
            let entry = truth.levels.get(sku, location);
            // Values are kept in the order in which they came, the last one among them.
            let last = held.last.iter().filter(|_| held.kept.is_empty());
            for value in held.kept.iter().chain(last) {
                if let Some(fault) = compare(*value, entry) {
                    report.violation_of(|| name(sku, location), fault);
                }
            }
        }
    }
}

/// What is wrong about a version that comes after `bound`.
fn misplaced(bound: i64, version: i64, every_change: bool) -> Option<Fault> {
    let (from, to) = (bound, version);
    match version.cmp(&bound) {
        Ordering::Equal => Some(Fault::Repeated { version }),
        Ordering::Less => Some(Fault::Fell { from, to }),
        Ordering::Greater if every_change && version > bound + 1 => {
            Some(Fault::Skipped { from, to })
        }
        Ordering::Greater => None,
    }
}

/// Whether no stock can be like this. Under `EVERY_CHANGE` an old value comes with the
/// present limit, and may lie below it.
fn cannot_be(level: &StockLevel, every_change: bool) -> bool {
    let adds_up = level.on_hand.checked_sub(level.reserved) == Some(level.available);
    let takable = level.available.saturating_add(level.backorder_limit);
    !adds_up || level.reserved < 0 || (takable < 0 && !every_change) || level.version < 0
}

/// What is wrong about a value, by the ledger.
fn compare(sent: Value, entry: Option<&Entry>) -> Option<Fault> {
    let (version, last) = (sent.version, entry.map_or(0, |entry| entry.last));
    if version > last {
        return Some(Fault::NeverCommitted { version, last });
    }
    let nothing = Value {
        version: 0,
        on_hand: 0,
        reserved: 0,
    };
    let is = match version {
        0 => Some(nothing),
        // In between the ledger may have gaps: it may know of the last values alone.
        _ => entry.and_then(|entry| entry.at(version)),
    };
    (is? != sent).then_some(Fault::WrongValue { sent, is })
}

fn name(sku: &str, location: &str) -> String {
    format!("{sku}@{location}")
}
