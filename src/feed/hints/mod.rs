//! Hints: how the instances on one database tell each other what has changed.
//!
//! After a commit an instance says which levels are at which version now, and the
//! others read those that somebody watches there. A hint carries no stock: what is
//! published comes from the store, so one that is lost, repeated, reordered or made up
//! costs a read or some time. The periodic re-read is the net beneath.

mod listen;
mod payload;
mod send;

pub(crate) use send::HintOutbox;

use std::sync::Arc;
use std::time::Duration;

use self::listen::Listening;
use super::Feed;
use super::reread::{EarlyReread, reread_forever};
use crate::storage::{Hints, Store};
use crate::telemetry::Counters;

/// The first wait before a connection that failed is tried again.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest: what a hint would have brought comes with the re-read meanwhile.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Tells the other processes on the same database what `outbox` was told of, and `feed`
/// what they change: at once where a hint comes, else with the re-read each `every`.
/// Until dropped.
pub(crate) async fn exchange_forever(
    hints: Hints,
    outbox: HintOutbox,
    feed: Feed,
    store: Store,
    every: Duration,
    counters: Arc<Counters>,
) {
    let early = EarlyReread::default();
    let repairs = counters.watches.reread_repairs.clone();
    let reread = reread_forever(feed.clone(), store.clone(), every, early.clone(), repairs);
    let sent = counters.hints.sent.clone();
    let sending = send::send_forever(outbox.clone(), hints.clone(), sent);
    let listening = Listening {
        feed,
        store,
        outbox,
        reread: early,
        counters: counters.hints.clone(),
    };
    tokio::join!(reread, sending, listening.run(hints));
}

/// Waits that double while something fails, each shortened by up to half at random, so
/// that the instances of a database that comes back do not come at once.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure.
    fn failed(&mut self) -> Duration {
        let doubled = BACKOFF_MIN * 2u32.pow(self.failures.min(10));
        self.failures += 1;
        doubled
            .min(BACKOFF_MAX)
            .mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Whether the last attempt failed too: an outage is logged once.
    fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.failed() <= BACKOFF_MAX);
        }
        assert!(backoff.failed() >= BACKOFF_MAX / 2);
        backoff.succeeded();
        assert!(!backoff.is_failing() && backoff.failed() <= BACKOFF_MIN);
    }
}
