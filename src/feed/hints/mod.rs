//! Hints: how the instances on one database tell each other what has changed.
//!
//! After a commit an instance says which levels are at which version now, and the
//! others read those that somebody watches there. A hint carries no stock: what is
//! published comes from the store, so one that is lost, repeated, reordered or made up
//! costs a read or some time. The periodic re-read is the net beneath.

mod listen;
mod payload;
mod send;

pub use listen::Listening;
pub use send::{HintOutbox, send_forever};

use std::time::Duration;

/// The first wait before a connection that failed is tried again.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest: what a hint would have brought comes with the re-read meanwhile.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

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
