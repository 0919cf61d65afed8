//! Stock as a child would keep it: one command after the other on a map.

use std::collections::{BTreeMap, HashMap};

use stockroom::domain::{Adjustment, Change, LevelKey, NewOrder, OrderId, StockLevel};
use stockroom::engine::Command;

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Ordered {
        order_id: OrderId,
        versions: Vec<i64>,
        replayed: bool,
    },
    /// Version, delta and on_hand of the movement; version and on_hand of the level.
    Adjusted {
        movement: (i64, i64, i64),
        level: (i64, i64),
        replayed: bool,
    },
    Reused,
    Unknown(Vec<String>),
    Short(Vec<(LevelKey, i64, i64)>),
    Mismatch(i64),
    TooMuch,
}

/// on_hand, reserved, version.
type Level = (i64, i64, i64);

pub(super) struct Model {
    levels: BTreeMap<LevelKey, Level>,
    /// What was asked for and what it was answered with, by request id.
    answered: HashMap<String, (String, Outcome)>,
}

impl Model {
    pub(super) fn new(levels: &BTreeMap<LevelKey, StockLevel>) -> Self {
        let level = |l: &StockLevel| (l.on_hand, l.reserved, l.version.number());
        Self {
            levels: levels
                .iter()
                .map(|(key, l)| (key.clone(), level(l)))
                .collect(),
            answered: HashMap::new(),
        }
    }

    pub(super) fn levels(&self) -> &BTreeMap<LevelKey, Level> {
        &self.levels
    }

    pub(super) fn run(&mut self, command: &Command) -> Outcome {
        let request_id = command.request_id().to_string();
        let asked = asked(command);
        if let Some((before, outcome)) = self.answered.get(&request_id) {
            return if *before == asked {
                self.again(command, outcome.clone())
            } else {
                Outcome::Reused
            };
        }
        let outcome = match command {
            Command::CreateOrder(new) => self.order(new),
            Command::AdjustStock(adjustment) => self.adjust(adjustment),
        };
        if matches!(outcome, Outcome::Ordered { .. } | Outcome::Adjusted { .. }) {
            self.answered.insert(request_id, (asked, outcome.clone()));
        }
        outcome
    }

    fn again(&self, command: &Command, mut outcome: Outcome) -> Outcome {
        match (&mut outcome, command) {
            (Outcome::Ordered { replayed, .. }, _) => *replayed = true,
            (
                Outcome::Adjusted {
                    replayed, level, ..
                },
                Command::AdjustStock(adjustment),
            ) => {
                *replayed = true;
                let (on_hand, _, version) = self.levels[&adjustment.key];
                *level = (version, on_hand);
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
            if on_hand - reserved < units {
                short.push((key.clone(), units, on_hand - reserved));
            }
        }
        if !short.is_empty() {
            return Outcome::Short(short);
        }
        for (key, units) in wanted {
            let (on_hand, reserved, version) = self.level(key);
            self.levels
                .insert(key.clone(), (on_hand - units, reserved, version + 1));
        }
        Outcome::Ordered {
            order_id: new.order_id,
            versions: new
                .lines
                .iter()
                .map(|line| self.level(&line.key).2)
                .collect(),
            replayed: false,
        }
    }

    fn adjust(&mut self, adjustment: &Adjustment) -> Outcome {
        let key = &adjustment.key;
        if key.sku.as_str() == "unknown" {
            return Outcome::Unknown(vec!["unknown".to_owned()]);
        }
        let (on_hand, reserved, version) = self.level(key);
        if let Some(expected) = adjustment.expected_version
            && expected.number() != version
        {
            return Outcome::Mismatch(version);
        }
        let after = match adjustment.change {
            Change::Delta(delta) => on_hand + delta,
            Change::SetOnHand(units) => units,
        };
        if after < reserved {
            return Outcome::Short(vec![(key.clone(), on_hand - after, on_hand - reserved)]);
        }
        if after > StockLevel::UNITS_MAX {
            return Outcome::TooMuch;
        }
        self.levels
            .insert(key.clone(), (after, reserved, version + 1));
        Outcome::Adjusted {
            movement: (version + 1, after - on_hand, after),
            level: (version + 1, after),
            replayed: false,
        }
    }
}

/// What a command asks for, apart from the ids.
fn asked(command: &Command) -> String {
    match command {
        Command::CreateOrder(new) => format!("{:?}", new.lines),
        Command::AdjustStock(adjustment) => format!("{adjustment:?}"),
    }
}
