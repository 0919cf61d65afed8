//! Planning: from what was loaded and what is asked for to what is written and
//! answered.
//!
//! Pure: no I/O, no clock, nothing async. The result equals carrying out the
//! commands one after the other in the order of the queue; a property test holds
//! it against a naive model. A command that does not fit is refused alone.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Command, Done, Prepared};
use crate::domain::{
    Adjustment, Change, LevelKey, LevelWrite, Loaded, Movement, MovementKind, NewOrder, Order,
    OrderLine, OrderState, Product, RequestId, RequestWrite, Sku, StockLevel, StoredAnswer,
    StoredRequest, Timestamp, Writes,
};
use crate::error::{Error, Shortfall, Violation};

/// What to answer and what to write first.
#[derive(Debug)]
pub struct Plan {
    /// One answer for each command, in their order.
    pub outcomes: Vec<Result<Done, Error>>,
    /// What must be durable before any of them leaves.
    pub writes: Writes,
}

/// Plans `commands` on `loaded`, which has every level that they name. `now` is
/// the time that everything written gets.
pub fn plan<'a>(loaded: &'a Loaded, commands: &[&'a Prepared], now: Timestamp) -> Plan {
    let mut planner = Planner {
        loaded,
        now,
        levels: HashMap::with_capacity(loaded.levels.len()),
        accepted: HashMap::new(),
        writes: Writes::default(),
    };
    let outcomes = commands.iter().map(|c| planner.command(c)).collect();
    Plan {
        outcomes,
        writes: planner.finish(),
    }
}

/// Plans the THRESHOLD movements of `levels` after their products changed.
pub(super) fn plan_thresholds(
    levels: Vec<StockLevel>,
    products: &[&Product],
    now: Timestamp,
) -> Writes {
    let thresholds: HashMap<&Sku, i64> = products
        .iter()
        .map(|product| (&product.sku, product.low_stock_threshold))
        .collect();
    let mut writes = Writes::default();
    for mut level in levels {
        let Some(&threshold) = thresholds.get(&level.key.sku) else {
            continue;
        };
        let expected = level.version;
        level.low_stock_threshold = threshold;
        let movement = step(&mut level, MovementKind::Threshold, 0, now);
        writes.movements.push(Arc::new(movement));
        writes.levels.push(LevelWrite { expected, level });
    }
    writes
}

/// The levels and requests as the commands planned so far have left them.
struct Planner<'a> {
    loaded: &'a Loaded,
    now: Timestamp,
    /// Only the levels that a command has changed.
    levels: HashMap<&'a LevelKey, StockLevel>,
    /// What the commands accepted so far have made.
    accepted: HashMap<&'a RequestId, StoredRequest>,
    writes: Writes,
}

impl<'a> Planner<'a> {
    fn command(&mut self, prepared: &'a Prepared) -> Result<Done, Error> {
        let request_id = prepared.command.request_id();
        let earlier = self.accepted.get(request_id);
        if let Some(stored) = earlier.or_else(|| self.loaded.requests.get(request_id)) {
            return self.repeat(prepared, stored);
        }
        let (done, order_id, movement) = match &prepared.command {
            Command::CreateOrder(new) => {
                let order = self.create_order(new)?;
                let done = Done::Order {
                    order: Arc::clone(&order),
                    replayed: false,
                };
                (done, Some(order.order_id), None)
            }
            Command::AdjustStock(adjustment) => {
                let (movement, level) = self.adjust_stock(adjustment)?;
                let place = (movement.key.clone(), movement.version);
                let done = Done::Adjusted {
                    movement,
                    level,
                    replayed: false,
                };
                (done, None, Some(place))
            }
        };
        self.writes.requests.push(RequestWrite {
            request_id: request_id.clone(),
            fingerprint: prepared.fingerprint,
            order_id,
            movement,
        });
        let answer = match &done {
            Done::Order { order, .. } => StoredAnswer::Order(Arc::clone(order)),
            Done::Adjusted { movement, .. } => StoredAnswer::Movement(Arc::clone(movement)),
        };
        let stored = StoredRequest {
            fingerprint: prepared.fingerprint,
            answer,
        };
        self.accepted.insert(request_id, stored);
        Ok(done)
    }

    /// Answers a request that has been answered before.
    fn repeat(&self, prepared: &Prepared, stored: &StoredRequest) -> Result<Done, Error> {
        let reused = || Error::RequestIdReused(prepared.command.request_id().clone());
        if stored.fingerprint != prepared.fingerprint {
            return Err(reused());
        }
        match (&stored.answer, &prepared.command) {
            (StoredAnswer::Order(order), Command::CreateOrder(new)) => Ok(Done::Order {
                order: Arc::clone(order),
                // The very order that this command made, before its commit's answer was lost.
                replayed: order.order_id != new.order_id,
            }),
            (StoredAnswer::Movement(movement), Command::AdjustStock(adjustment)) => {
                Ok(Done::Adjusted {
                    movement: Arc::clone(movement),
                    level: self.level(&adjustment.key).clone(),
                    replayed: true,
                })
            }
            // The fingerprint covers the kind of the request, so this takes a
            // collision of hashes; the other kind's answer would be wrong even then.
            _ => Err(reused()),
        }
    }

    fn create_order(&mut self, new: &'a NewOrder) -> Result<Arc<Order>, Error> {
        let takes = sum_lines(new);
        self.require_known(takes.iter().map(|(key, _)| *key))?;
        let short: Vec<Shortfall> = takes
            .iter()
            .filter_map(|&(key, units)| {
                let available = self.level(key).available();
                (available < units).then(|| Shortfall {
                    key: key.clone(),
                    requested: units,
                    available,
                })
            })
            .collect();
        if !short.is_empty() {
            return Err(Error::InsufficientStock(short));
        }
        let mut versions = HashMap::with_capacity(takes.len());
        for (key, units) in takes {
            let mut movement = self.step(key, MovementKind::Ordered, -units);
            movement.order_id = Some(new.order_id);
            versions.insert(key, movement.version);
            self.writes.movements.push(Arc::new(movement));
        }
        let lines = new.lines.iter().map(|line| OrderLine {
            key: line.key.clone(),
            quantity: line.quantity,
            version: versions[&line.key],
        });
        let order = Arc::new(Order {
            order_id: new.order_id,
            request_id: new.request_id.clone(),
            state: OrderState::Confirmed,
            lines: lines.collect(),
            customer_ref: new.customer_ref.clone(),
            labels: new.labels.clone(),
            created: self.now,
            updated: self.now,
            version: 1,
        });
        self.writes.orders.push(Arc::clone(&order));
        Ok(order)
    }

    fn adjust_stock(
        &mut self,
        adjustment: &'a Adjustment,
    ) -> Result<(Arc<Movement>, StockLevel), Error> {
        let key = &adjustment.key;
        self.require_known(std::iter::once(key))?;
        let level = self.level(key);
        if let Some(expected) = adjustment.expected_version
            && expected != level.version
        {
            return Err(Error::VersionMismatch {
                key: key.clone(),
                expected,
                actual: level.version,
            });
        }
        let (delta, field) = match adjustment.change {
            Change::Delta(delta) => (delta, "delta"),
            Change::SetOnHand(on_hand) => (on_hand - level.on_hand, "set_on_hand"),
        };
        if level.on_hand + delta < level.reserved {
            return Err(Error::InsufficientStock(vec![Shortfall {
                key: key.clone(),
                requested: -delta,
                available: level.available(),
            }]));
        }
        if level.on_hand + delta > StockLevel::UNITS_MAX {
            return Err(Error::InvalidRequest(vec![Violation {
                field: field.to_owned(),
                description: format!(
                    "must leave on_hand at or below {}, it is {}",
                    StockLevel::UNITS_MAX,
                    level.on_hand
                ),
            }]));
        }
        let mut movement = self.step(key, adjustment.kind, delta);
        movement.request_id = Some(adjustment.request_id.clone());
        movement.note.clone_from(&adjustment.note);
        let movement = Arc::new(movement);
        self.writes.movements.push(Arc::clone(&movement));
        Ok((movement, self.level(key).clone()))
    }

    /// The level as the commands so far have left it.
    fn level(&self, key: &LevelKey) -> &StockLevel {
        self.levels
            .get(key)
            .unwrap_or_else(|| &self.loaded.levels[key].level)
    }

    fn step(&mut self, key: &'a LevelKey, kind: MovementKind, on_hand_delta: i64) -> Movement {
        let level = self
            .levels
            .entry(key)
            .or_insert_with(|| self.loaded.levels[key].level.clone());
        step(level, kind, on_hand_delta, self.now)
    }

    fn require_known<'k>(&self, keys: impl Iterator<Item = &'k LevelKey>) -> Result<(), Error> {
        let mut unknown: Vec<Sku> = keys
            .filter(|key| !self.loaded.levels[*key].sku_known)
            .map(|key| key.sku.clone())
            .collect();
        // The keys come in ascending order.
        unknown.dedup();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Error::SkuNotFound(unknown))
        }
    }

    /// The changed levels, each guarded by the version that it was loaded at.
    fn finish(mut self) -> Writes {
        let loaded = self.loaded;
        self.writes.levels = self
            .levels
            .into_iter()
            .map(|(key, level)| LevelWrite {
                expected: loaded.levels[key].level.version,
                level,
            })
            .collect();
        self.writes
            .levels
            .sort_unstable_by(|a, b| a.level.key.cmp(&b.level.key));
        self.writes
    }
}

/// Moves `level` on by one version and writes down how. The caller has checked
/// the bounds.
fn step(
    level: &mut StockLevel,
    kind: MovementKind,
    on_hand_delta: i64,
    now: Timestamp,
) -> Movement {
    level.on_hand += on_hand_delta;
    level.version = level.version.next();
    level.updated = now;
    Movement {
        key: level.key.clone(),
        version: level.version,
        kind,
        on_hand_delta,
        reserved_delta: 0,
        on_hand: level.on_hand,
        reserved: level.reserved,
        time: now,
        order_id: None,
        request_id: None,
        note: String::new(),
    }
}

/// The units that an order takes of each level, in ascending order of the keys.
/// Two lines of one level are one take: checked apart, they could oversell.
fn sum_lines(new: &NewOrder) -> Vec<(&LevelKey, i64)> {
    let mut takes: Vec<(&LevelKey, i64)> = new
        .lines
        .iter()
        .map(|line| (&line.key, line.quantity.units()))
        .collect();
    takes.sort_unstable_by_key(|(key, _)| *key);
    takes.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 += later.1;
        }
        same
    });
    takes
}
