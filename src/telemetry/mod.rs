//! What the program says about itself: its log, and counts of what it does.
//!
//! Owns the log's form, and the names, units and help texts of all metrics. The
//! metrics are handed to whoever counts, never reached through a static, so that
//! two servers in one process count apart. Leaves the port that they are read at
//! to `http`, and when to count to those who act.

mod books;
mod counters;
mod groups;
mod hints;
mod holds;
mod instruments;
mod log;
mod outage;
mod outcomes;
mod redis_groups;
mod registry;
mod relay;
mod replicas;
mod said_once;
mod watches;

pub use books::BookGauges;
pub use counters::{Counters, keep_up_forever};
pub use groups::{Commits, Locks, Pool, Pools, Queue};
pub use hints::HintCounters;
pub use holds::HoldCounters;
pub use instruments::{Counter, Gauge, Held, Histogram, Sampled};
pub use log::init;
pub(crate) use outage::store_unavailable;
#[cfg(test)]
pub(crate) use outcomes::METHODS;
pub use outcomes::{Outcomes, Unanswered};
pub use redis_groups::{CacheCounters, RedisLink, RedisLocks};
pub use relay::RelayCounters;
pub use replicas::Replica;
pub(crate) use said_once::SaidOnce;
pub use watches::{Goodbyes, Watches};
