//! Planning what changes stock for another reason than an order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::known::{Delta, Known};
use super::{Events, Planner};
use crate::domain::{
    AdjustmentCall, Adjustments, Change, Counterpart, LevelKey, Movement, MovementKind, Product,
    Sku, StockLevel, Timestamp, Trace, Writes,
};
use crate::error::{Error, Mismatch, Shortfall, Violation};
use crate::events::Draft;

/// What adjustments made: a movement for each, and the levels as they are then, each
/// once, in ascending order of their keys.
type Adjusted = (Vec<Arc<Movement>>, Vec<StockLevel>);

impl Planner {
    /// Makes all of the changes or none.
    pub(super) fn adjust_stock(
        &mut self,
        asked: &Adjustments,
        trace: Trace,
    ) -> Result<Adjusted, Error> {
        let keys: BTreeSet<&LevelKey> = asked.keys().collect();
        self.require_known(keys.iter().copied())?;
        self.require_versions(asked)?;
        let deltas = self.deltas(asked)?;
        let changes = asked.changes.iter().zip(deltas);
        let mut movements: Vec<Movement> = changes
            .map(|(change, delta)| {
                let mut movement =
                    self.step(&change.key, change.kind, Delta::on_hand(delta), trace);
                movement.request_id = Some(asked.request_id.clone());
                movement.note.clone_from(&change.note);
                movement
            })
            .collect();
        if asked.call == AdjustmentCall::Transfer {
            name_each_other(&mut movements);
        }
        let movements: Vec<Arc<Movement>> = movements.into_iter().map(Arc::new).collect();
        self.writes.movements.extend(movements.iter().cloned());
        Ok((movements, self.levels_of(asked)))
    }

    /// The levels that are named, each once, in ascending order of their keys.
    pub(super) fn levels_of(&self, asked: &Adjustments) -> Vec<StockLevel> {
        let keys: BTreeSet<&LevelKey> = asked.keys().collect();
        keys.into_iter()
            .map(|key| self.level(key).clone())
            .collect()
    }

    fn require_versions(&self, asked: &Adjustments) -> Result<(), Error> {
        let stale: Vec<Mismatch> = asked
            .changes
            .iter()
            .filter_map(|change| {
                let expected = change.expected_version?;
                let actual = self.level(&change.key).version;
                (expected != actual).then(|| Mismatch {
                    key: change.key.clone(),
                    expected,
                    actual,
                })
            })
            .collect();
        if stale.is_empty() {
            Ok(())
        } else {
            Err(Error::VersionMismatch(stale))
        }
    }

    /// How many units each change adds, the changes before it done. One that does not fit
    /// is left out of what those after it find, so that each level that is short is told
    /// once, for its own sake.
    fn deltas(&mut self, asked: &Adjustments) -> Result<Vec<i64>, Error> {
        let mut on_hand: HashMap<&LevelKey, i64> = HashMap::new();
        let mut short: Vec<Shortfall> = Vec::new();
        let mut too_much = Vec::new();
        let mut deltas = Vec::with_capacity(asked.changes.len());
        for (place, change) in asked.changes.iter().enumerate() {
            let level = self.level(&change.key);
            let now = on_hand.entry(&change.key).or_insert(level.on_hand);
            let delta = match change.change {
                Change::Delta(delta) => delta,
                Change::SetOnHand(units) => units - *now,
            };
            // Orders alone go on backorder; what heals one is taken, if it does so in part.
            if delta < 0 && *now + delta < level.reserved {
                if short.iter().all(|told| told.key != change.key) {
                    short.push(Shortfall {
                        key: change.key.clone(),
                        requested: -delta,
                        available: *now - level.reserved,
                        backorder_limit: 0,
                    });
                }
            } else if *now + delta > StockLevel::UNITS_MAX {
                let max = StockLevel::UNITS_MAX;
                too_much.push(Violation {
                    field: asked.field(place),
                    description: format!("must leave on_hand at or below {max}, it is {now}"),
                });
            } else {
                *now += delta;
            }
            deltas.push(delta);
        }
        if !short.is_empty() {
            Err(self.short_of(short))
        } else if !too_much.is_empty() {
            Err(Error::InvalidRequest(too_much))
        } else {
            Ok(deltas)
        }
    }
}

/// Tells the halves of each transfer of each other.
fn name_each_other(movements: &mut [Movement]) {
    let place = |movement: &Movement| Counterpart {
        location: movement.key.location.clone(),
        version: movement.version,
    };
    for halves in movements.chunks_exact_mut(2) {
        let (out, into) = (place(&halves[0]), place(&halves[1]));
        halves[0].counterpart = Some(into);
        halves[1].counterpart = Some(out);
    }
}

/// Plans the THRESHOLD movements of `levels` after the thresholds or limits of their
/// products changed; `trace` is of whoever changed them.
pub(in crate::engine) fn plan_thresholds(
    levels: Vec<StockLevel>,
    products: &[&Product],
    now: Timestamp,
    trace: Trace,
    events: Events,
) -> Writes {
    let products = products.iter().map(|product| (&product.sku, *product));
    let products: HashMap<&Sku, &Product> = products.collect();
    let follow = |level: &mut StockLevel| {
        if let Some(product) = products.get(&level.key.sku) {
            level.low_stock_threshold = product.low_stock_threshold;
            level.backorder_limit = product.backorder_limit;
        }
    };
    plan_each(levels, MovementKind::Threshold, follow, now, trace, events)
}

/// Plans the last movements of `levels`, which are empty, before their product goes;
/// `trace` is of whoever deletes it.
pub(in crate::engine) fn plan_deletion(
    levels: Vec<StockLevel>,
    now: Timestamp,
    trace: Trace,
    events: Events,
) -> Writes {
    // What is no product is not low.
    let leave = |level: &mut StockLevel| {
        level.low_stock_threshold = 0;
        level.backorder_limit = 0;
    };
    plan_each(levels, MovementKind::Deleted, leave, now, trace, events)
}

/// A movement for each of `levels`, of which `change` changes something other than units.
fn plan_each(
    levels: Vec<StockLevel>,
    kind: MovementKind,
    change: impl Fn(&mut StockLevel),
    now: Timestamp,
    trace: Trace,
    events: Events,
) -> Writes {
    let mut writes = Writes {
        time: now,
        ..Writes::default()
    };
    let mut draft = events.draft();
    for level in levels {
        let mut known = Known::new(level, true);
        change(&mut known.level);
        let movement = known.step(kind, Delta::default(), now);
        writes.movements.push(Arc::new(movement));
        if let Some(draft) = &mut draft {
            known.trace = Some(trace);
            draft.stock_changed(&known.change());
        }
        writes.levels.push(known.into_write());
    }
    writes.outbox = draft.and_then(Draft::finish);
    writes
}
