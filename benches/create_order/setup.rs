//! The things that can be measured, as values: what the orders look like, who
//! answers them, and how they are sent.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::support::stock::PRODUCTS;
use crate::support::stores::StoreKind;

/// Calls in flight against a server that batches, and against the echo.
pub(crate) const IN_FLIGHT: usize = 1_024;

/// Callers of an open loop: more than are ever under way below the peak.
const OPEN_LOOP_CALLERS: usize = 4_096;

/// The server's connections to PostgreSQL.
pub(crate) const POOL_MAX: usize = 8;

/// What the orders look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One line, everybody wants the same product.
    Hot,
    /// One line over all products.
    Spread,
    /// As many lines as real invoices have, over all products.
    Baskets,
}

impl Shape {
    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Spread => "spread",
            Self::Baskets => "baskets",
        }
    }

    /// Products that are ordered.
    pub(crate) fn skus(self) -> usize {
        match self {
            Self::Hot => 1,
            Self::Spread | Self::Baskets => PRODUCTS,
        }
    }
}

/// How levels are guarded: `locking.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Guard {
    Optimistic,
    Pessimistic,
    Atomic,
}

impl Guard {
    pub(crate) const ALL: [Self; 3] = [Self::Optimistic, Self::Pessimistic, Self::Atomic];

    /// What the configuration and the results call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Optimistic => "optimistic",
            Self::Pessimistic => "pessimistic",
            Self::Atomic => "atomic",
        }
    }
}

/// Stockroom, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) store: StoreKind,
    pub(crate) guard: Guard,
    pub(crate) batching: bool,
    pub(crate) pool_max: usize,
    /// Servers on the one database.
    pub(crate) instances: usize,
}

/// Who answers the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nobody: they are sent back.
    Echo,
    /// PostgreSQL alone, told to do what Stockroom with this guard would tell it.
    Bare {
        guard: Guard,
        batching: bool,
        connections: usize,
    },
    /// Stockroom.
    Store(Served),
}

/// Who else orders, beside those that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Nobody.
    Nobody,
    /// As many as there can be, all of them for one product.
    Hot,
    /// One caller with orders of a thousand lines.
    Wide,
}

/// How the orders are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Each when the last is answered.
    Closed,
    /// When they are due, at so many percent of what the closed loop reached.
    PercentOfPeak(u32),
    /// When they are due, at twice of what a slow database lets through.
    Overload,
    /// Each when the last is answered, with Kafka told of them.
    Events,
    /// Each when the last is answered; they reserve.
    Holds,
    /// They reserve and are confirmed, each call when the last is answered.
    Confirms,
    /// When they are due, a few a second, beside a crowd.
    Beside(Crowd),
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) target: Target,
    pub(crate) course: Course,
    /// Calls under way at the same time; of an open loop the most there may be.
    pub(crate) in_flight: usize,
}

impl Setup {
    /// The echo of messages of `shape`, at full load.
    pub(crate) fn echo(shape: Shape) -> Self {
        // One line is one line: the bytes of `spread` are those of `hot`.
        let shape = match shape {
            Shape::Spread => Shape::Hot,
            other => other,
        };
        Self::closed(shape, Target::Echo, IN_FLIGHT)
    }

    /// One server that batches, at full load.
    pub(crate) fn batched(shape: Shape, store: StoreKind, guard: Guard) -> Self {
        Self::closed(shape, stockroom(store, guard, true, POOL_MAX), IN_FLIGHT)
    }

    /// One server that commits each order by itself.
    pub(crate) fn unbatched(
        shape: Shape,
        store: StoreKind,
        guard: Guard,
        pool_max: usize,
        in_flight: usize,
    ) -> Self {
        Self::closed(shape, stockroom(store, guard, false, pool_max), in_flight)
    }

    /// Servers that batch, on one PostgreSQL.
    pub(crate) fn instances(instances: usize, guard: Guard) -> Self {
        let target = Target::Store(Served {
            store: StoreKind::Postgres,
            guard,
            batching: true,
            pool_max: POOL_MAX,
            instances,
        });
        Self::closed(Shape::Hot, target, IN_FLIGHT)
    }

    /// PostgreSQL alone, in the batches of the server with `guard`.
    pub(crate) fn bare(shape: Shape, guard: Guard) -> Self {
        let target = Target::Bare {
            guard,
            batching: true,
            connections: 1,
        };
        Self::closed(shape, target, 1)
    }

    /// PostgreSQL alone, order by order.
    pub(crate) fn bare_unbatched(shape: Shape, guard: Guard, connections: usize) -> Self {
        let target = Target::Bare {
            guard,
            batching: false,
            connections,
        };
        Self::closed(shape, target, connections)
    }

    /// `hot` on PostgreSQL with one caller.
    pub(crate) fn idle() -> Self {
        let busy = Self::batched(Shape::Hot, StoreKind::Postgres, Guard::Optimistic);
        Self {
            in_flight: 1,
            ..busy
        }
    }

    /// The echo with one caller.
    pub(crate) fn idle_echo() -> Self {
        Self::closed(Shape::Hot, Target::Echo, 1)
    }

    /// `hot` on PostgreSQL in an open loop.
    pub(crate) fn open(percent_of_peak: u32) -> Self {
        Self {
            course: Course::PercentOfPeak(percent_of_peak),
            in_flight: OPEN_LOOP_CALLERS,
            ..Self::idle()
        }
    }

    /// `hot` on a PostgreSQL that is slow to reach, twice as much as that lets through.
    pub(crate) fn overload() -> Self {
        Self {
            course: Course::Overload,
            in_flight: crate::overload::CALLERS,
            ..Self::idle()
        }
    }

    /// `hot` on PostgreSQL with events on.
    pub(crate) fn events() -> Self {
        Self {
            course: Course::Events,
            ..Self::batched(Shape::Hot, StoreKind::Postgres, Guard::Optimistic)
        }
    }

    /// Orders of `shape` that reserve, and then those that are confirmed too.
    pub(crate) fn holds(shape: Shape) -> [Self; 2] {
        [Course::Holds, Course::Confirms].map(|course| Self {
            course,
            ..Self::batched(shape, StoreKind::Postgres, Guard::Optimistic)
        })
    }

    /// `spread` on PostgreSQL beside `crowd`.
    pub(crate) fn beside(crowd: Crowd) -> Self {
        Self {
            shape: Shape::Spread,
            course: Course::Beside(crowd),
            in_flight: crate::fairness::CALLERS,
            ..Self::idle()
        }
    }

    fn closed(shape: Shape, target: Target, in_flight: usize) -> Self {
        Self {
            shape,
            target,
            course: Course::Closed,
            in_flight,
        }
    }

    /// What is tried in several variants, of which the best one counts: without
    /// batching, the number of connections and of calls in flight is left open.
    pub(crate) fn family(mut self) -> Self {
        match &mut self.target {
            Target::Store(served) if !served.batching => served.pool_max = 0,
            Target::Bare {
                batching: false,
                connections,
                ..
            } => *connections = 0,
            _ => return self,
        }
        self.in_flight = 0;
        self
    }

    /// The case, as results call it.
    pub(crate) fn case(&self) -> String {
        let shape = self.shape.name();
        match (self.target, self.course) {
            (Target::Echo, _) if self.in_flight == 1 => "echo_idle".to_owned(),
            (Target::Echo, _) if self.shape == Shape::Baskets => "echo_baskets".to_owned(),
            (Target::Echo, _) => "echo".to_owned(),
            (Target::Bare { .. }, _) => format!("bare_{shape}"),
            (_, Course::Closed) if self.in_flight == 1 => format!("{shape}_idle"),
            (_, Course::Closed) => shape.to_owned(),
            (_, Course::PercentOfPeak(percent)) => format!("{shape}_at_{percent}_percent"),
            (_, Course::Overload) => "overload".to_owned(),
            (_, Course::Events) => format!("{shape}_events"),
            (_, Course::Holds) => format!("{shape}_holds"),
            (_, Course::Confirms) => format!("{shape}_holds_confirmed"),
            (_, Course::Beside(Crowd::Nobody)) => "beside_nobody".to_owned(),
            (_, Course::Beside(Crowd::Hot)) => "beside_one_hot_sku".to_owned(),
            (_, Course::Beside(Crowd::Wide)) => "beside_1000_lines".to_owned(),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.case())?;
        let how = |batching| if batching { "batched" } else { "unbatched" };
        match self.target {
            Target::Echo => {}
            Target::Bare {
                guard,
                batching,
                connections,
            } => write!(
                f,
                ", {}, {}, {connections} connections",
                guard.name(),
                how(batching)
            )?,
            Target::Store(served) => {
                let (store, guard) = (served.store.name(), served.guard.name());
                write!(f, " on {store}, {guard}, {}", how(served.batching))?;
                if !served.batching {
                    write!(f, ", pool of {}", served.pool_max)?;
                }
                if served.instances > 1 {
                    write!(f, ", {} instances", served.instances)?;
                }
            }
        }
        write!(f, ", {} in flight", self.in_flight)
    }
}

fn stockroom(store: StoreKind, guard: Guard, batching: bool, pool_max: usize) -> Target {
    Target::Store(Served {
        store,
        guard,
        batching,
        pool_max,
        instances: 1,
    })
}
