//! Planning: from what was loaded and what is asked for to what is written and
//! answered.
//!
//! Pure: no I/O, no clock, nothing async. The result equals carrying out the
//! commands one after the other in the order of the queue; a property test holds
//! it against a naive model. A command that does not fit is refused alone. [`plan`]
//! takes a batch at once, the planner behind it a command at a time.

mod known;

use std::collections::HashMap;
use std::sync::Arc;

use self::known::{Known, sum_lines};
use super::{Command, Done, Prepared};
use crate::domain::{
    Adjustment, Change, LevelKey, Loaded, LoadedLevel, Movement, MovementKind, NewOrder, Order,
    OrderLine, OrderState, Product, RequestId, RequestWrite, Sku, StockLevel, StoredAnswer,
    StoredRequest, Timestamp, Trace, Writes,
};
use crate::error::{Error, Shortfall, Violation};
use crate::events::Draft;

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
pub fn plan(loaded: &Loaded, commands: &[&Prepared], now: Timestamp) -> Plan {
    let mut planner = Planner::new(now, Arc::default(), Events::Off);
    for level in loaded.levels.values() {
        planner.know(level.clone());
    }
    planner.stored.clone_from(&loaded.requests);
    let outcomes = commands.iter().map(|c| planner.command(c)).collect();
    let (writes, _) = planner.finish();
    Plan { outcomes, writes }
}

/// Requests and what they made.
pub type Accepted = HashMap<RequestId, StoredRequest>;

/// Plans the THRESHOLD movements of `levels` after their products changed; `trace` is of
/// whoever changed them.
pub(super) fn plan_thresholds(
    levels: Vec<StockLevel>,
    products: &[&Product],
    now: Timestamp,
    trace: Trace,
    events: Events,
) -> Writes {
    let thresholds: HashMap<&Sku, i64> = products
        .iter()
        .map(|product| (&product.sku, product.low_stock_threshold))
        .collect();
    let mut writes = Writes {
        time: now,
        ..Writes::default()
    };
    let mut draft = events.draft();
    for level in levels {
        let Some(&threshold) = thresholds.get(&level.key.sku) else {
            continue;
        };
        let mut known = Known::new(level, true);
        known.level.low_stock_threshold = threshold;
        let movement = known.step(MovementKind::Threshold, 0, now);
        writes.movements.push(Arc::new(movement));
        if let Some(draft) = &mut draft {
            known.trace = Some(trace);
            draft.stock_changed(&known.change());
        }
        writes.levels.push(known.into_write());
    }
    writes.outbox = draft.map(Draft::finish);
    writes
}

/// Whether what is planned tells other systems of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// It does not, which costs nothing.
    Off,
    /// Its events are written with it.
    On,
}

impl Events {
    fn draft(self) -> Option<Draft> {
        (self == Self::On).then(Draft::new)
    }
}

/// The levels and requests as the commands planned so far have left them.
#[derive(Debug)]
pub(super) struct Planner {
    now: Timestamp,
    levels: HashMap<LevelKey, Known>,
    /// Answered before this batch, as the store has it.
    stored: Accepted,
    /// Made by the batch that is being committed while this one is planned.
    earlier: Arc<Accepted>,
    /// What the commands accepted so far have made.
    accepted: Accepted,
    writes: Writes,
    /// The events of `writes`; those of levels come last.
    draft: Option<Draft>,
}

impl Planner {
    /// Knows no level yet. `earlier` is what the batch before this one makes, if it is
    /// still under way.
    pub(super) fn new(now: Timestamp, earlier: Arc<Accepted>, events: Events) -> Self {
        Self {
            now,
            levels: HashMap::new(),
            stored: HashMap::new(),
            earlier,
            accepted: HashMap::new(),
            writes: Writes {
                time: now,
                ..Writes::default()
            },
            draft: events.draft(),
        }
    }

    pub(super) fn knows(&self, key: &LevelKey) -> bool {
        self.levels.contains_key(key)
    }

    /// Takes a level to plan on.
    pub(super) fn know(&mut self, loaded: LoadedLevel) {
        let known = Known::new(loaded.level, loaded.sku_known);
        self.levels.insert(known.level.key.clone(), known);
    }

    /// Takes requests that have been answered before.
    pub(super) fn know_requests(&mut self, stored: Accepted) {
        self.stored.extend(stored);
    }

    /// Plans one command more. It knows every level that the command names. An error
    /// leaves everything as it was.
    pub(super) fn command(&mut self, prepared: &Prepared) -> Result<Done, Error> {
        let request_id = prepared.command.request_id();
        let answered = [&self.accepted, &*self.earlier, &self.stored];
        let answered = answered.iter().find_map(|known| known.get(request_id));
        if let Some(stored) = answered {
            return self.repeat(prepared, stored);
        }
        let (done, order_id, movement) = match &prepared.command {
            Command::CreateOrder(new) => {
                let order = self.create_order(new, prepared.trace)?;
                let done = Done::Order {
                    order: Arc::clone(&order),
                    replayed: false,
                };
                (done, Some(order.order_id), None)
            }
            Command::AdjustStock(adjustment) => {
                let (movement, level) = self.adjust_stock(adjustment, prepared.trace)?;
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
        self.accepted.insert(request_id.clone(), stored);
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

    fn create_order(&mut self, new: &NewOrder, trace: Trace) -> Result<Arc<Order>, Error> {
        let mut takes = sum_lines(new);
        self.require_known(takes.iter().map(|take| take.key))?;
        let short: Vec<Shortfall> = takes
            .iter()
            .filter_map(|take| {
                let available = self.level(take.key).available();
                (available < take.units).then(|| Shortfall {
                    key: take.key.clone(),
                    requested: take.units,
                    available,
                })
            })
            .collect();
        if !short.is_empty() {
            return Err(Error::InsufficientStock(short));
        }
        for take in &mut takes {
            let mut movement = self.step(take.key, MovementKind::Ordered, -take.units, trace);
            movement.order_id = Some(new.order_id);
            take.version = movement.version;
            self.writes.movements.push(Arc::new(movement));
        }
        let version_of = |key: &LevelKey| {
            let place = takes.binary_search_by(|take| take.key.cmp(key));
            takes[place.expect("every line was summed")].version
        };
        let lines = new.lines.iter().map(|line| OrderLine {
            key: line.key.clone(),
            quantity: line.quantity,
            version: version_of(&line.key),
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
        if let Some(draft) = &mut self.draft {
            draft.order_created(&order, trace);
        }
        Ok(order)
    }

    fn adjust_stock(
        &mut self,
        adjustment: &Adjustment,
        trace: Trace,
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
        let mut movement = self.step(key, adjustment.kind, delta, trace);
        movement.request_id = Some(adjustment.request_id.clone());
        movement.note.clone_from(&adjustment.note);
        let movement = Arc::new(movement);
        self.writes.movements.push(Arc::clone(&movement));
        Ok((movement, self.level(key).clone()))
    }

    /// The level as the commands so far have left it.
    fn level(&self, key: &LevelKey) -> &StockLevel {
        &self.levels[key].level
    }

    fn step(
        &mut self,
        key: &LevelKey,
        kind: MovementKind,
        on_hand_delta: i64,
        trace: Trace,
    ) -> Movement {
        let known = self.levels.get_mut(key);
        let known = known.expect("the caller has looked at the level");
        known.trace.get_or_insert(trace);
        known.step(kind, on_hand_delta, self.now)
    }

    fn require_known<'k>(&self, keys: impl Iterator<Item = &'k LevelKey>) -> Result<(), Error> {
        let mut unknown: Vec<Sku> = keys
            .filter(|key| !self.levels[*key].sku_known)
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

    /// What is to be written, the changed levels each guarded by the version that it
    /// was known at, and the requests that this answers.
    pub(super) fn finish(mut self) -> (Writes, Accepted) {
        let known = self.levels.into_values();
        let changed = known.filter(|known| known.level.version > known.expected);
        let mut changed: Vec<Known> = changed.collect();
        changed.sort_unstable_by(|a, b| a.level.key.cmp(&b.level.key));
        if let Some(mut draft) = self.draft {
            for known in &changed {
                draft.stock_changed(&known.change());
            }
            self.writes.outbox = Some(draft.finish());
        }
        self.writes.levels = changed.into_iter().map(Known::into_write).collect();
        (self.writes, self.accepted)
    }
}
