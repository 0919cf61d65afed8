//! Planning: from what was loaded and what is asked for to what is written and
//! answered.
//!
//! Pure: no I/O, no clock, nothing async. The result equals carrying out the
//! commands one after the other in the order of the queue; a property test holds
//! it against a naive model. A command that does not fit is refused alone.

mod changes;
mod doubt;
mod known;
mod orders;
mod repeats;
mod stock;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub(super) use self::doubt::PlanInDoubt;
use self::known::{Delta, Known};
pub(super) use self::stock::{plan_deletion, plan_thresholds};
use super::{Command, Done, Prepared};
use crate::domain::{
    LevelKey, LoadedLevel, Movement, MovementKind, Order, OrderId, OrderWrite, RequestId,
    RequestWrite, Sku, StockLevel, StoredAnswer, StoredRequest, Timestamp, Trace, Writes,
};
use crate::error::{Error, Shortfall};
use crate::events::Draft;

/// What to answer and what to write first.
#[derive(Debug)]
pub struct Plan {
    /// One answer for each command, in their order.
    pub outcomes: Vec<Result<Done, Error>>,
    /// What must be durable before any of them leaves.
    pub writes: Writes,
    /// Levels that a command was short of while others hold some of their units: holds
    /// of theirs that are over would make it fit.
    pub held: BTreeSet<LevelKey>,
    /// Whether its guard has found levels elsewhere than they were foreseen, and planned
    /// the same commands again.
    pub is_made_anew: bool,
}

/// Requests and what they are answered with when they come again.
pub type Answered = HashMap<RequestId, StoredRequest>;

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

/// The levels and requests as the commands planned so far have left them. Public for the test and
/// the bench that plan without an engine.
#[doc(hidden)]
#[derive(Debug)]
pub struct Planner {
    now: Timestamp,
    levels: HashMap<LevelKey, Known>,
    /// Orders that commands change: as they were known, and as they are left.
    orders: HashMap<OrderId, OrderWrite>,
    held: BTreeSet<LevelKey>,
    /// Answered before this batch, as the store has it.
    stored: Answered,
    /// Made by the batch that is being committed while this one is planned.
    earlier: Arc<Answered>,
    /// What the commands accepted so far have made.
    accepted: Answered,
    writes: Writes,
    /// The events of `writes`; those of levels come last.
    draft: Option<Draft>,
}

impl Planner {
    /// Knows no level yet. `earlier` is what the batch before this one makes, if it is
    /// still under way.
    pub fn new(now: Timestamp, earlier: Arc<Answered>, events: Events) -> Self {
        Self {
            now,
            levels: HashMap::new(),
            orders: HashMap::new(),
            held: BTreeSet::new(),
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
    pub fn know(&mut self, loaded: LoadedLevel) {
        let known = Known::new(loaded.level, loaded.sku_known);
        self.levels.insert(known.level.key.clone(), known);
    }

    pub(super) fn knows_order(&self, id: OrderId) -> bool {
        self.orders.contains_key(&id)
    }

    /// Takes an order to plan on, as it stands.
    pub fn know_order(&mut self, order: Arc<Order>) {
        let known = OrderWrite {
            before: Arc::clone(&order),
            after: order,
        };
        self.orders.insert(known.before.order_id, known);
    }

    /// Takes requests that have been answered before.
    pub fn know_requests(&mut self, stored: Answered) {
        self.stored.extend(stored);
    }

    /// Plans one command more. It knows every level that the command names, and the
    /// order. An error leaves everything as it was.
    pub fn command(&mut self, prepared: &Prepared) -> Result<Done, Error> {
        let request_id = prepared.command.request_id();
        if let Some(stored) = request_id.and_then(|id| self.answered(id)) {
            return self.repeat(prepared, stored);
        }
        let (done, order_id, movements) = match &prepared.command {
            Command::CreateOrder(new) => {
                let order = self.create_order(new, prepared.trace)?;
                let order_id = order.order_id;
                (Done::made(order), Some(order_id), Vec::new())
            }
            Command::ChangeOrder(change) => {
                let order = self.change_order(change, prepared.trace)?;
                let order_id = order.order_id;
                (Done::made(order), Some(order_id), Vec::new())
            }
            Command::AdjustStock(asked) => {
                let (movements, levels) = self.adjust_stock(asked, prepared.trace)?;
                let places = movements.iter().map(|m| (m.key.clone(), m.version));
                let places = places.collect();
                let done = Done::Adjusted {
                    movements,
                    levels,
                    replayed: false,
                };
                (done, None, places)
            }
        };
        // The end of a hold is nobody's request.
        if let Some(request_id) = request_id {
            self.writes.requests.push(RequestWrite {
                request_id: request_id.clone(),
                fingerprint: prepared.fingerprint,
                order_id,
                movements,
            });
            let stored = StoredRequest {
                fingerprint: prepared.fingerprint,
                answer: StoredAnswer::of(&done),
            };
            self.accepted.insert(request_id.clone(), stored);
        }
        Ok(done)
    }

    /// The level as the commands so far have left it.
    fn level(&self, key: &LevelKey) -> &StockLevel {
        &self.levels[key].level
    }

    fn step(&mut self, key: &LevelKey, kind: MovementKind, delta: Delta, trace: Trace) -> Movement {
        let known = self.levels.get_mut(key);
        let known = known.expect("the caller has looked at the level");
        known.trace.get_or_insert(trace);
        known.step(kind, delta, self.now)
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

    /// The refusal of a command that is short of these levels.
    fn short_of(&mut self, short: Vec<Shortfall>) -> Error {
        let keys = short.iter().map(|short| &short.key);
        let held = keys.filter(|key| self.levels[*key].level.reserved > 0);
        let held: Vec<LevelKey> = held.cloned().collect();
        self.held.extend(held);
        Error::InsufficientStock(short)
    }

    /// The plan whose commands are answered like this: the changed levels and orders each
    /// guarded by the version that it was known at. And the requests that it answers.
    pub fn finish(mut self, outcomes: Vec<Result<Done, Error>>) -> (Plan, Answered) {
        let known = self.levels.into_values();
        let changed = known.filter(|known| known.level.version > known.expected);
        let mut changed: Vec<Known> = changed.collect();
        changed.sort_unstable_by(|a, b| a.level.key.cmp(&b.level.key));
        if let Some(mut draft) = self.draft {
            for known in &changed {
                draft.stock_changed(&known.change());
            }
            self.writes.outbox = draft.finish();
        }
        self.writes.levels = changed.into_iter().map(Known::into_write).collect();
        let orders = self.orders.into_values();
        let changed = orders.filter(|order| order.after.version > order.before.version);
        self.writes.order_changes = changed.collect();
        let changes = &mut self.writes.order_changes;
        changes.sort_unstable_by_key(|order| order.after.order_id);
        let plan = Plan {
            outcomes,
            writes: self.writes,
            held: self.held,
            is_made_anew: false,
        };
        (plan, self.accepted)
    }
}

impl Done {
    fn made(order: Arc<Order>) -> Self {
        let replayed = false;
        Self::Order { order, replayed }
    }
}

impl StoredAnswer {
    fn of(done: &Done) -> Self {
        match done {
            Done::Order { order, .. } => Self::Order(Arc::clone(order)),
            Done::Adjusted { movements, .. } => Self::Movements(movements.clone()),
        }
    }
}
