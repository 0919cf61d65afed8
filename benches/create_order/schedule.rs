//! What is measured in which order: repeat after repeat, never all repeats of one
//! thing in a row, a floor right beside what is held against it.

use anyhow::ensure;
use clap::ValueEnum;

use crate::results::Results;
use crate::setup::{Crowd, Guard, POOL_MAX, Setup, Shape};
use crate::support::stores::StoreKind;

/// Pools that are tried without batching; a batch takes one connection.
const POOLS: [usize; 2] = [8, 16];

/// Calls in flight that are tried without batching.
const UNBATCHED_IN_FLIGHT: [usize; 3] = [16, 64, 256];

/// The settings that a quick run takes for the best ones.
const QUICK_POOL: usize = 8;
const QUICK_IN_FLIGHT: usize = 64;

/// Points of the curve of latency against offered load, in percent of the peak. Half
/// of it is measured as often as the peak, these once.
const CURVE_PERCENT: [u32; 4] = [10, 25, 75, 90];

/// What can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// One line, everybody wants the same product
    Hot,
    /// One line over 10,000 products
    Spread,
    /// The line counts of real invoices over 10,000 products
    Baskets,
    /// One caller, and an open loop below the peak of `hot`
    Latency,
    /// Two servers on one database, one hot product
    Instances,
    /// Twice the orders that a slow database lets through
    Overload,
    /// `hot` with Kafka told of each order, beside `hot` without
    Events,
    /// Orders that reserve, and that are confirmed, beside those that take at once
    Holds,
    /// A few callers beside a crowd for one product, or beside orders of 1,000 lines
    Fairness,
}

/// What of it all is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection {
    pub(crate) case: Option<Case>,
    pub(crate) store: Option<StoreKind>,
    /// None: in a full run each of them, otherwise the default one.
    pub(crate) strategy: Option<Guard>,
    /// Less of everything.
    pub(crate) quick: bool,
    /// Whether there is a Kafka to be started.
    pub(crate) has_kafka: bool,
}

impl Selection {
    /// One repeat of what needs no peak. In the first one every variant is tried, later the
    /// best alone.
    pub(crate) fn repeat(&self, so_far: &Results) -> Vec<Setup> {
        let mut schedule = Vec::new();
        for store in [StoreKind::Postgres, StoreKind::Sqlite] {
            for (case, shape) in [
                (Case::Hot, Shape::Hot),
                (Case::Spread, Shape::Spread),
                (Case::Baskets, Shape::Baskets),
            ] {
                if self.has(case, store) {
                    for guard in self.guards(shape, store) {
                        self.shape(&mut schedule, shape, store, guard, so_far);
                    }
                }
            }
        }
        if self.has(Case::Latency, StoreKind::Postgres) {
            let peak = Setup::batched(Shape::Hot, StoreKind::Postgres, Guard::Optimistic);
            schedule.extend(missing(&schedule, [peak]));
        }
        if self.has(Case::Instances, StoreKind::Postgres) {
            for guard in self.guards(Shape::Hot, StoreKind::Postgres) {
                let one = Setup::instances(1, guard);
                schedule.extend(missing(&schedule, [one]));
                schedule.push(Setup::instances(2, guard));
            }
        }
        if self.has(Case::Overload, StoreKind::Postgres) {
            schedule.push(Setup::overload());
        }
        if self.wants_events() && self.has_kafka {
            let off = Setup::batched(Shape::Hot, StoreKind::Postgres, Guard::Optimistic);
            schedule.extend(missing(&schedule, [off]));
            schedule.push(Setup::events());
        }
        let asked_for = self.case == Some(Case::Holds);
        if self.has(Case::Holds, StoreKind::Postgres) && (asked_for || !self.quick) {
            for shape in [Shape::Hot, Shape::Spread] {
                let plain = Setup::batched(shape, StoreKind::Postgres, Guard::Optimistic);
                schedule.extend(missing(&schedule, [plain]));
                schedule.extend(Setup::holds(shape));
            }
        }
        let asked_for = self.case == Some(Case::Fairness);
        if self.has(Case::Fairness, StoreKind::Postgres) && (asked_for || !self.quick) {
            schedule.extend([Crowd::Nobody, Crowd::Hot, Crowd::Wide].map(Setup::beside));
        }
        schedule
    }

    /// One repeat of what is measured when all repeats have said what the peak is: an open
    /// loop that offers a share of it, and one caller with its floors.
    pub(crate) fn below_peak(&self, is_first: bool) -> Vec<Setup> {
        if !self.has(Case::Latency, StoreKind::Postgres) {
            return Vec::new();
        }
        let mut schedule = vec![
            Setup::bare_unbatched(Shape::Hot, Guard::Optimistic, 1),
            Setup::idle_echo(),
            Setup::idle(),
            Setup::open(50),
        ];
        if is_first && !self.quick {
            schedule.extend(CURVE_PERCENT.map(Setup::open));
        }
        schedule
    }

    /// What a run of everything has to do without, in words.
    ///
    /// # Errors
    /// It was asked for by name.
    pub(crate) fn left_out(&self) -> anyhow::Result<Option<&'static str>> {
        if !self.wants_events() || self.has_kafka {
            return Ok(None);
        }
        ensure!(
            self.case.is_none(),
            "STOCKROOM_TEST_KAFKA_LIBS is not set: scripts/setup-test-tools.sh installs Kafka"
        );
        Ok(Some(
            "LEFT OUT: events; scripts/setup-test-tools.sh did not find Kafka, or was told to skip it",
        ))
    }

    fn wants_events(&self) -> bool {
        let asked_for = self.case == Some(Case::Events);
        self.has(Case::Events, StoreKind::Postgres) && (asked_for || !self.quick)
    }

    fn has(&self, case: Case, store: StoreKind) -> bool {
        self.case.is_none_or(|only| only == case) && self.store.is_none_or(|only| only == store)
    }

    fn guards(&self, shape: Shape, store: StoreKind) -> Vec<Guard> {
        match self.strategy {
            // SQLite has one guard.
            _ if store == StoreKind::Sqlite => vec![Guard::Optimistic],
            Some(guard) => vec![guard],
            None if self.quick || shape == Shape::Baskets => vec![Guard::Optimistic],
            None => Guard::ALL.to_vec(),
        }
    }

    /// A shape of orders at full load, with and without batching, and its floors.
    fn shape(
        &self,
        schedule: &mut Vec<Setup>,
        shape: Shape,
        store: StoreKind,
        guard: Guard,
        so_far: &Results,
    ) {
        let echo = Setup::echo(shape);
        // Again for each store, unless it must be quick: the hour changes it, too.
        let again = !self.quick && guard == Guard::Optimistic && shape != Shape::Spread;
        if again || !schedule.contains(&echo) {
            schedule.push(echo);
        }
        schedule.push(Setup::batched(shape, store, guard));
        let is_postgres = store == StoreKind::Postgres;
        if is_postgres {
            schedule.push(Setup::bare(shape, guard));
        }
        schedule.extend(self.unbatched(shape, store, guard, so_far));
        if is_postgres && shape != Shape::Baskets && (!self.quick || shape == Shape::Hot) {
            schedule.extend(self.bare_unbatched(shape, guard, so_far));
        }
    }

    fn unbatched(
        &self,
        shape: Shape,
        store: StoreKind,
        guard: Guard,
        so_far: &Results,
    ) -> Vec<Setup> {
        let of = |pool, in_flight| Setup::unbatched(shape, store, guard, pool, in_flight);
        if let Some((best, _)) = so_far.best(of(0, 0)) {
            return vec![best];
        }
        if self.quick {
            return vec![of(QUICK_POOL, QUICK_IN_FLIGHT)];
        }
        // SQLite has one writer, whatever the pool.
        let pools = match store {
            StoreKind::Sqlite => &[POOL_MAX][..],
            StoreKind::Postgres => &POOLS[..],
        };
        let pairs = pools
            .iter()
            .flat_map(|pool| UNBATCHED_IN_FLIGHT.map(|in_flight| (*pool, in_flight)));
        pairs.map(|(pool, in_flight)| of(pool, in_flight)).collect()
    }

    fn bare_unbatched(&self, shape: Shape, guard: Guard, so_far: &Results) -> Vec<Setup> {
        let of = |connections| Setup::bare_unbatched(shape, guard, connections);
        if let Some((best, _)) = so_far.best(of(0)) {
            return vec![best];
        }
        match shape {
            // One row can be held by one connection at a time.
            Shape::Hot => vec![of(1)],
            _ if self.quick => vec![of(QUICK_POOL)],
            _ => POOLS.map(of).to_vec(),
        }
    }
}

/// Those of `wanted` that the repeat does not have yet.
fn missing<const N: usize>(schedule: &[Setup], wanted: [Setup; N]) -> Vec<Setup> {
    let wanted = wanted.into_iter();
    wanted.filter(|setup| !schedule.contains(setup)).collect()
}
