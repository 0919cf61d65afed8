//! What the program says about itself: its log, and counts of what it does.
//!
//! Owns the log's form, and the names, units and help texts of all metrics. The
//! metrics are handed to whoever counts, never reached through a static, so that
//! two servers in one process count apart. Leaves the port that they are read at
//! to `http`, and when to count to those who act.

mod books;
mod counters;
mod groups;
mod holds;
mod instruments;
mod log;
mod outage;
mod outcomes;
mod redis_groups;
mod registry;
mod replicas;

pub use books::BookGauges;
pub use counters::{Counters, keep_up_forever};
pub use groups::{
    Commits, Goodbyes, HintCounters, Locks, Pool, Pools, Queue, RelayCounters, Watches,
};
pub use holds::HoldCounters;
pub use instruments::{Counter, Gauge, Held, Histogram, Sampled};
pub use log::init;
pub(crate) use outage::store_unavailable;
#[cfg(test)]
pub(crate) use outcomes::METHODS;
pub use outcomes::{Outcomes, Unanswered};
pub use redis_groups::{CacheCounters, RedisLink, RedisLocks};
pub use replicas::Replica;
