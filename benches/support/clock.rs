//! The wall clock of this machine, which all processes of a bench share.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the system's clock once, and after that the one that only moves on: cheap,
/// and never set back in the middle of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_us: i64,
}

impl Clock {
    /// Begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench compares its times with those that the server put into levels"
    )]
    pub(crate) fn start() -> Self {
        let began = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let since_epoch = since_epoch.unwrap_or_default();
        Self {
            began,
            began_us: microseconds(since_epoch),
        }
    }

    /// Time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Microseconds of 1970 at `elapsed`.
    pub(crate) fn us(&self, elapsed: Duration) -> i64 {
        self.began_us + microseconds(elapsed)
    }

    /// Microseconds of 1970 at `instant`, which must be after the beginning.
    pub(crate) fn us_at(&self, instant: Instant) -> i64 {
        self.us(instant.saturating_duration_since(self.began))
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
