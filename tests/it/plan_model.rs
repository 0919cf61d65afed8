//! `plan` equals carrying out the commands one by one.
//!
//! The model below does that as plainly as possible, on its own data. Random
//! commands are planned in random batches; after each batch its writes are
//! stored as a database would store them, and the next one is loaded from
//! there. Answers and stored levels must be the model's.

mod asks;
mod model;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use stockroom::domain::{
    LevelKey, LoadedLevel, Movement, Order, OrderId, OrderState, RequestId, StockLevel,
    StoredAnswer, StoredRequest, Timestamp, Version,
};
use stockroom::engine::plan::{Events, Plan, Planner};
use stockroom::engine::{Command, Done, Prepared};
use stockroom::error::Error;

use asks::{Ask, Limits, SKUS, batches, key, limits, prepared};
use model::{Model, Outcome};

/// What a database would hold.
#[derive(Default)]
struct Stored {
    /// The backorder limits of the products.
    limits: Limits,
    levels: BTreeMap<LevelKey, StockLevel>,
    requests: HashMap<RequestId, StoredRequest>,
    orders: BTreeMap<OrderId, Arc<Order>>,
}

impl Stored {
    /// Levels with 10 and 8 units, of which one has some reserved.
    fn opening(limits: Limits) -> Self {
        let mut this = Self {
            limits,
            ..Self::default()
        };
        for (sku, on_hand, reserved, version) in [(0, 10, 0, 1), (1, 8, 3, 4)] {
            let key = key(sku, 0);
            let level = StockLevel {
                on_hand,
                reserved,
                version: Version::new(version),
                ..this.none(sku, 0)
            };
            this.levels.insert(key, level);
        }
        this
    }

    fn none(&self, sku: usize, location: usize) -> StockLevel {
        StockLevel {
            backorder_limit: self.limits[sku],
            ..StockLevel::none(key(sku, location))
        }
    }

    /// Plans `commands` on what is stored.
    fn plan(&self, commands: &[&Prepared], now: Timestamp) -> Plan {
        let mut planner = Planner::new(now, Arc::default(), Events::Off);
        for (sku, location) in (0..SKUS.len()).flat_map(|sku| [(sku, 0), (sku, 1)]) {
            let level = self.levels.get(&key(sku, location)).cloned();
            let level = level.unwrap_or_else(|| self.none(sku, location));
            let sku_known = SKUS[sku] != "unknown";
            planner.know(LoadedLevel { level, sku_known });
        }
        let mut requests = self.requests.clone();
        for request in requests.values_mut() {
            if let StoredAnswer::Order(order) = &mut request.answer {
                *order = Arc::clone(&self.orders[&order.order_id]);
            }
        }
        planner.know_requests(requests);
        for order in self.orders() {
            planner.know_order(order);
        }
        let outcomes = commands.iter().map(|it| planner.command(it)).collect();
        planner.finish(outcomes).0
    }

    fn orders(&self) -> Vec<Arc<Order>> {
        self.orders.values().cloned().collect()
    }

    /// Stores orders as the guard would allow it.
    fn store_orders(&mut self, plan: &Plan) {
        for order in &plan.writes.orders {
            let old = self.orders.insert(order.order_id, Arc::clone(order));
            assert!(old.is_none(), "an order is made once");
        }
        let changes = &plan.writes.order_changes;
        assert!(changes.is_sorted_by_key(|write| write.after.order_id));
        for write in changes {
            let (before, after) = (&write.before, &write.after);
            let stored = self.orders.insert(after.order_id, Arc::clone(after));
            assert_eq!(stored.as_ref(), Some(before), "the guard holds");
            assert!(after.version > before.version);
            assert_eq!(after.expires.is_some(), after.state == OrderState::Pending);
        }
    }

    /// Of each level, what pending orders hold is what is reserved beyond the opening.
    fn check_holds(&self) {
        let mut held: BTreeMap<&LevelKey, i64> = BTreeMap::from([(self.opening_hold(), 3)]);
        let orders = self.orders.values();
        for order in orders.filter(|order| order.state == OrderState::Pending) {
            for (key, units) in order.units_by_level() {
                *held.entry(key).or_default() += units;
            }
        }
        for (key, level) in &self.levels {
            let held = held.get(key).copied().unwrap_or_default();
            assert_eq!(level.reserved, held, "{key}");
        }
    }

    fn opening_hold(&self) -> &LevelKey {
        let second = key(1, 0);
        self.levels.get_key_value(&second).unwrap().0
    }

    /// Stores the writes as the guard and the constraints would allow them.
    fn store(&mut self, plan: &Plan) {
        let mut versions: HashMap<&LevelKey, Version> = HashMap::new();
        let mut made_by_order = HashSet::new();
        for movement in &plan.writes.movements {
            let level = self.levels.get(&movement.key);
            let before = versions.get(&movement.key).copied();
            let before = before.or(level.map(|l| l.version)).unwrap_or_default();
            assert_eq!(movement.version, before.next(), "the ledger has no gap");
            versions.insert(&movement.key, movement.version);
            if let Some(other) = &movement.counterpart {
                let mut written = plan.writes.movements.iter();
                let it = written
                    .find(|m| {
                        m.key.sku == movement.key.sku
                            && (&m.key.location, m.version) == (&other.location, other.version)
                    })
                    .expect("the other half is written");
                assert_eq!(it.on_hand_delta, -movement.on_hand_delta);
                let back = it.counterpart.as_ref().expect("it names this one");
                assert_eq!(
                    (&back.location, back.version),
                    (&movement.key.location, movement.version)
                );
            }
            if let Some(order_id) = movement.order_id {
                let first = made_by_order.insert((order_id, &movement.key, movement.kind));
                assert!(first, "one movement for each order, level and change");
            }
        }
        let keys: Vec<_> = plan.writes.levels.iter().map(|w| &w.level.key).collect();
        assert!(keys.is_sorted(), "locks are taken in one order");
        for write in &plan.writes.levels {
            let level = &write.level;
            assert!(level.reserved >= 0, "{level:?}");
            assert!(level.available() >= -level.backorder_limit, "{level:?}");
            let stored = self
                .levels
                .get(&level.key)
                .map_or(Version::NONE, |l| l.version);
            assert_eq!(write.expected, stored, "the guard holds");
            assert_eq!(versions.remove(&level.key), Some(level.version));
            self.levels.insert(level.key.clone(), level.clone());
        }
        assert!(versions.is_empty(), "each movement changes a level");
        self.store_orders(plan);
        for write in &plan.writes.requests {
            let order = write.order_id.map(|id| &self.orders[&id]);
            let movements: Vec<_> = write
                .movements
                .iter()
                .map(|(key, version)| {
                    let mut written = plan.writes.movements.iter();
                    let made = |m: &&Arc<Movement>| (&m.key, m.version) == (key, *version);
                    Arc::clone(written.find(made).expect("what it names is written"))
                })
                .collect();
            let answer = match order {
                Some(order) if movements.is_empty() => StoredAnswer::Order(Arc::clone(order)),
                None if !movements.is_empty() => StoredAnswer::Movements(movements),
                other => panic!("a request made one thing, not {other:?} and {movements:?}"),
            };
            let stored = StoredRequest {
                fingerprint: write.fingerprint,
                answer,
            };
            let earlier = self.requests.insert(write.request_id.clone(), stored);
            assert!(earlier.is_none(), "{} is stored once", write.request_id);
        }
    }
}

/// An answer in the model's terms.
fn outcome(command: &Command, answer: &Result<Done, Error>) -> Outcome {
    match answer {
        Ok(Done::Order { order, replayed }) if matches!(command, Command::ChangeOrder(_)) => {
            Outcome::Changed {
                state: order.state,
                replayed: *replayed,
            }
        }
        Err(Error::OrderState { state, .. }) => Outcome::State(*state),
        Ok(Done::Order { order, replayed }) => Outcome::Ordered {
            order_id: order.order_id,
            versions: order
                .lines
                .iter()
                .map(|line| line.version.number())
                .collect(),
            backordered: order.lines.iter().map(|line| line.backordered).collect(),
            replayed: *replayed,
        },
        Ok(Done::Adjusted {
            movements,
            levels,
            replayed,
        }) => Outcome::Adjusted {
            movements: movements
                .iter()
                .map(|m| (m.version.number(), m.on_hand_delta, m.on_hand))
                .collect(),
            levels: levels
                .iter()
                .map(|level| (level.version.number(), level.on_hand))
                .collect(),
            replayed: *replayed,
        },
        Err(Error::RequestIdReused(_)) => Outcome::Reused,
        Err(Error::SkuNotFound(skus)) => {
            Outcome::Unknown(skus.iter().map(ToString::to_string).collect())
        }
        Err(Error::InsufficientStock(short)) => Outcome::Short(
            short
                .iter()
                .map(|s| (s.key.clone(), s.requested, s.available))
                .collect(),
        ),
        Err(Error::VersionMismatch(stale)) => {
            Outcome::Mismatch(stale.iter().map(|it| it.actual.number()).collect())
        }
        Err(Error::InvalidRequest(violations)) => Outcome::TooMuch(violations.len()),
        Err(other) => panic!("plan cannot answer {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_equals_carrying_out_its_commands_one_by_one(
        batches in batches(), limits in limits(),
    ) {
        let mut stored = Stored::opening(limits);
        let mut model = Model::new(&stored.levels, limits);
        let mut numbers = 1_u128..;
        for batch in &batches {
            let orders = stored.orders();
            let commands: Vec<Prepared> = batch
                .iter()
                .filter_map(|(id, ask)| prepared(numbers.next().unwrap(), *id, ask, &orders))
                .collect();
            let commands: Vec<&Prepared> = commands.iter().collect();
            let plan = stored.plan(&commands, Timestamp::from_us(1));
            for (prepared, answer) in commands.iter().zip(&plan.outcomes) {
                let command = &prepared.command;
                let expected = model.run(command);
                prop_assert_eq!(outcome(command, answer), expected, "{:?}", command);
            }
            stored.store(&plan);
            stored.check_holds();
            let kept = Model::new(&stored.levels, limits);
            prop_assert_eq!(model.levels(), kept.levels());
        }
    }
}

#[test]
fn an_order_whose_commit_was_settled_is_not_a_replay_of_itself() {
    let mut stored = Stored::opening(Limits::default());
    let first = prepared(1, 1, &Ask::Order(vec![(0, 0, 2)], None), &[]).unwrap();
    stored.store(&stored.plan(&[&first], Timestamp::from_us(1)));
    // The answer of its COMMIT was lost, so the same command is planned again.
    let settled = stored.plan(&[&first], Timestamp::from_us(2));
    assert!(settled.writes.requests.is_empty());
    assert!(matches!(
        settled.outcomes[0],
        Ok(Done::Order {
            replayed: false,
            ..
        })
    ));
}
