//! Stock as a child would keep it: one command after the other on a map.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stockroom::domain::{
    Adjustments, Change, LevelKey, NewOrder, OrderChange, OrderId, OrderState, StockLevel,
    Transition,
};
use stockroom::engine::Command;

use super::asks::{Limits, SKUS};

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Ordered {
        order_id: OrderId,
        versions: Vec<i64>,
        /// Units of each line that were not there.
        backordered: Vec<i64>,
        replayed: bool,
    },
    /// Version, delta and on_hand of each movement; version and on_hand of each level.
    Adjusted {
        movements: Vec<(i64, i64, i64)>,
        levels: Vec<(i64, i64)>,
        replayed: bool,
    },
    Changed {
        state: OrderState,
        replayed: bool,
    },
    State(OrderState),
    Reused,
    Unknown(Vec<String>),
    Short(Vec<(LevelKey, i64, i64)>),
    Mismatch(Vec<i64>),
    /// How many changes are.
    TooMuch(usize),
}

/// on_hand, reserved, version.
type Level = (i64, i64, i64);

pub(super) struct Model {
    limits: Limits,
    levels: BTreeMap<LevelKey, Level>,
    /// What was asked for and what it was answered with, by request id.
    answered: HashMap<String, (String, Outcome)>,
    orders: HashMap<OrderId, Kept>,
}

/// An order: where it is, what it holds or took, and until when it holds.
struct Kept {
    state: OrderState,
    units: BTreeMap<LevelKey, i64>,
    expires: i64,
}

impl Model {
    pub(super) fn new(levels: &BTreeMap<LevelKey, StockLevel>, limits: Limits) -> Self {
        let level = |l: &StockLevel| (l.on_hand, l.reserved, l.version.number());
        Self {
            limits,
            levels: levels
                .iter()
                .map(|(key, l)| (key.clone(), level(l)))
                .collect(),
            answered: HashMap::new(),
            orders: HashMap::new(),
        }
    }

    pub(super) fn levels(&self) -> &BTreeMap<LevelKey, Level> {
        &self.levels
    }

    pub(super) fn run(&mut self, command: &Command) -> Outcome {
        let Some(request_id) = command.request_id().map(ToString::to_string) else {
            return self.run_new(command);
        };
        let asked = asked(command);
        if let Some((before, outcome)) = self.answered.get(&request_id) {
            return if *before == asked {
                self.again(command, outcome.clone())
            } else {
                Outcome::Reused
            };
        }
        let outcome = self.run_new(command);
        if matches!(
            outcome,
            Outcome::Ordered { .. } | Outcome::Adjusted { .. } | Outcome::Changed { .. }
        ) {
            self.answered.insert(request_id, (asked, outcome.clone()));
        }
        outcome
    }

    fn run_new(&mut self, command: &Command) -> Outcome {
        match command {
            Command::CreateOrder(new) => self.order(new),
            Command::ChangeOrder(change) => self.change(change),
            Command::AdjustStock(asked) => self.adjust(asked),
        }
    }

    fn change(&mut self, change: &OrderChange) -> Outcome {
        let order = self.orders.get_mut(&change.order.order_id).unwrap();
        let before = order.state;
        // What a unit of the order adds to on_hand and to reserved.
        let (state, each) = match (&change.transition, before) {
            (Transition::Confirm, OrderState::Pending) => (OrderState::Confirmed, Some((-1, -1))),
            (Transition::Cancel { .. }, OrderState::Pending) => {
                (OrderState::Cancelled, Some((0, -1)))
            }
            (Transition::Cancel { restock, .. }, OrderState::Confirmed) => {
                (OrderState::Cancelled, restock.then_some((1, 0)))
            }
            (Transition::Extend(hold), OrderState::Pending) => {
                order.expires = order.expires.max(hold.expires.us());
                (before, None)
            }
            (Transition::Expire(now), OrderState::Pending) if order.expires <= now.us() => {
                (OrderState::Expired, Some((0, -1)))
            }
            _ => return Outcome::State(before),
        };
        if let Some((on_hand, reserved)) = each {
            for (key, units) in &order.units {
                let level = self.levels.get(key).copied().unwrap_or_default();
                if level.0 + on_hand * units > StockLevel::UNITS_MAX {
                    return Outcome::TooMuch(1);
                }
            }
            for (key, units) in &order.units {
                let level = self.levels.get_mut(key).unwrap();
                *level = (
                    level.0 + on_hand * units,
                    level.1 + reserved * units,
                    level.2 + 1,
                );
            }
        }
        order.state = state;
        Outcome::Changed {
            state,
            replayed: false,
        }
    }

    fn again(&self, command: &Command, mut outcome: Outcome) -> Outcome {
        match (&mut outcome, command) {
            (Outcome::Ordered { replayed, .. }, _) => *replayed = true,
            (Outcome::Changed { state, replayed }, Command::ChangeOrder(change)) => {
                *replayed = true;
                *state = self.orders[&change.order.order_id].state;
            }
            (
                Outcome::Adjusted {
                    replayed, levels, ..
                },
                Command::AdjustStock(asked),
            ) => {
                *replayed = true;
                *levels = self.now(asked);
            }
            other => panic!("only what was done is remembered: {other:?}"),
        }
        outcome
    }

    fn level(&self, key: &LevelKey) -> Level {
        self.levels.get(key).copied().unwrap_or_default()
    }

    fn order(&mut self, new: &NewOrder) -> Outcome {
        let mut wanted: BTreeMap<&LevelKey, i64> = BTreeMap::new();
        for line in &new.lines {
            *wanted.entry(&line.key).or_default() += line.quantity.units();
        }
        let mut unknown: Vec<String> = wanted.keys().map(|key| key.sku.to_string()).collect();
        unknown.retain(|sku| sku == "unknown");
        unknown.dedup();
        if !unknown.is_empty() {
            return Outcome::Unknown(unknown);
        }
        let mut short = Vec::new();
        for (&key, &units) in &wanted {
            let (on_hand, reserved, _) = self.level(key);
            if on_hand - reserved + self.limit(key) < units {
                short.push((key.clone(), units, on_hand - reserved));
            }
        }
        if !short.is_empty() {
            return Outcome::Short(short);
        }
        let backordered = self.backordered(new);
        for (&key, units) in &wanted {
            let (on_hand, reserved, version) = self.level(key);
            let after = match new.hold {
                None => (on_hand - units, reserved, version + 1),
                Some(_) => (on_hand, reserved + units, version + 1),
            };
            self.levels.insert(key.clone(), after);
        }
        let units = wanted.into_iter().map(|(key, units)| (key.clone(), units));
        let kept = Kept {
            state: match new.hold {
                None => OrderState::Confirmed,
                Some(_) => OrderState::Pending,
            },
            units: units.collect(),
            expires: new.hold.map_or(0, |hold| hold.expires.us()),
        };
        self.orders.insert(new.order_id, kept);
        Outcome::Ordered {
            order_id: new.order_id,
            versions: new
                .lines
                .iter()
                .map(|line| self.level(&line.key).2)
                .collect(),
            backordered,
            replayed: false,
        }
    }

    fn limit(&self, key: &LevelKey) -> i64 {
        let place = SKUS.iter().position(|sku| *sku == key.sku.as_str());
        self.limits[place.unwrap()]
    }

    /// Of each line the units that nobody could hand over, one unit after the other.
    fn backordered(&self, new: &NewOrder) -> Vec<i64> {
        let mut there: BTreeMap<&LevelKey, i64> = BTreeMap::new();
        let lines = new.lines.iter().map(|line| {
            let (on_hand, reserved, _) = self.level(&line.key);
            let there = there.entry(&line.key).or_insert(on_hand - reserved);
            let handed_over = (0..line.quantity.units()).filter(|_| {
                *there -= 1;
                *there >= 0
            });
            line.quantity.units() - handed_over.count() as i64
        });
        lines.collect()
    }

    fn adjust(&mut self, asked: &Adjustments) -> Outcome {
        let keys: BTreeSet<&LevelKey> = asked.keys().collect();
        if keys.iter().any(|key| key.sku.as_str() == "unknown") {
            return Outcome::Unknown(vec!["unknown".to_owned()]);
        }
        let mut stale = Vec::new();
        for change in &asked.changes {
            let version = self.level(&change.key).2;
            if change
                .expected_version
                .is_some_and(|v| v.number() != version)
            {
                stale.push(version);
            }
        }
        if !stale.is_empty() {
            return Outcome::Mismatch(stale);
        }
        let before = self.levels.clone();
        let (mut movements, mut too_much) = (Vec::new(), 0);
        let mut short: Vec<(LevelKey, i64, i64)> = Vec::new();
        for change in &asked.changes {
            let key = &change.key;
            let (on_hand, reserved, version) = self.level(key);
            let after = match change.change {
                Change::Delta(delta) => on_hand + delta,
                Change::SetOnHand(units) => units,
            };
            if after < reserved && after < on_hand {
                if !short.iter().any(|(told, ..)| told == key) {
                    short.push((key.clone(), on_hand - after, on_hand - reserved));
                }
            } else if after > StockLevel::UNITS_MAX {
                too_much += 1;
            } else {
                self.levels
                    .insert(key.clone(), (after, reserved, version + 1));
                movements.push((version + 1, after - on_hand, after));
            }
        }
        if !short.is_empty() || too_much > 0 {
            self.levels = before;
        }
        if !short.is_empty() {
            return Outcome::Short(short);
        }
        if too_much > 0 {
            return Outcome::TooMuch(too_much);
        }
        Outcome::Adjusted {
            movements,
            levels: self.now(asked),
            replayed: false,
        }
    }

    /// Version and on_hand of the levels that it names, each once.
    fn now(&self, asked: &Adjustments) -> Vec<(i64, i64)> {
        let keys: BTreeSet<&LevelKey> = asked.keys().collect();
        let levels = keys.into_iter().map(|key| self.level(key));
        levels
            .map(|(on_hand, _, version)| (version, on_hand))
            .collect()
    }
}

/// What a command asks for, apart from the ids.
fn asked(command: &Command) -> String {
    match command {
        Command::CreateOrder(new) => format!("{:?} {:?}", new.lines, new.hold),
        Command::ChangeOrder(change) => {
            format!("{} {:?}", change.order.order_id, change.transition)
        }
        Command::AdjustStock(asked) => format!("{asked:?}"),
    }
}
