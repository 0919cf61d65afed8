//! The database's clock, by which holds begin and end, known without asking for each order.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::clock;
use crate::domain::Timestamp;
use crate::error::Error;
use crate::lock::lock;
use crate::storage::Store;

/// How old a reading of the database's clock may be. In between, a clock that nobody sets
/// measures; it drifts by less than a millisecond.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(10);

/// How far this machine's own clock may have gone otherwise meanwhile. Beyond it the
/// machine was suspended, while which the clock that nobody sets stands still, or somebody
/// has set the other one: the database is asked again.
const CLOCK_STEP_MAX_US: i64 = 100_000;

/// What the database's clock said, and when that was by this machine's.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    wall: Timestamp,
    time: Timestamp,
}

impl Reading {
    /// The database's time now, if that can still be said.
    fn time_at(&self, now: Instant, wall: Timestamp) -> Option<Timestamp> {
        let since = now.saturating_duration_since(self.at);
        let since_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let by_wall_us = wall.us().saturating_sub(self.wall.us());
        let step_us = by_wall_us.saturating_sub(since_us).saturating_abs();
        (since < CLOCK_AGE_MAX && step_us < CLOCK_STEP_MAX_US)
            .then(|| Timestamp::from_us(self.time.us().saturating_add(since_us)))
    }
}

/// The database's clock, read now and then.
#[derive(Debug, Default)]
pub(super) struct DatabaseClock {
    read: Mutex<Option<Reading>>,
    /// Held by whoever reads it; the others wait for what that one reads. When it could
    /// not be read the last time.
    reading: tokio::sync::Mutex<Option<Instant>>,
}

impl DatabaseClock {
    /// The time by the database's clock, off by no more than half of a round trip.
    ///
    /// # Errors
    /// It could not be read.
    pub(super) async fn now(&self, store: &Store) -> Result<Timestamp, Error> {
        if let Some(time) = self.remembered() {
            return Ok(time);
        }
        // On the heap: the future of every order would be as large.
        Box::pin(async {
            let asked = Instant::now();
            let mut failed = self.reading.lock().await;
            if let Some(time) = self.remembered() {
                return Ok(time);
            }
            // A database that is away is waited for by all together, not by one after the other.
            if failed.is_some_and(|at| at >= asked) {
                return Err(Error::StoreUnavailable(None));
            }
            let began = Instant::now();
            let read = store.now().await;
            *failed = read.is_err().then(Instant::now);
            let half = began.elapsed() / 2;
            let half_us = i64::try_from(half.as_micros()).unwrap_or(i64::MAX);
            let reading = Reading {
                at: began + half,
                wall: Timestamp::from_us(clock::now().us().saturating_sub(half_us)),
                time: read?,
            };
            *lock(&self.read) = Some(reading);
            Ok(self.remembered().unwrap_or(reading.time))
        })
        .await
    }

    fn remembered(&self) -> Option<Timestamp> {
        let reading = (*lock(&self.read))?;
        reading.time_at(Instant::now(), clock::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Reading;
    use crate::domain::Timestamp;

    #[test]
    fn a_reading_is_of_no_use_when_it_is_old_or_the_machine_stood_still() {
        let reading = Reading {
            at: Instant::now(),
            wall: Timestamp::from_us(50_000_000),
            time: Timestamp::from_us(7_000_000),
        };
        let later = |seconds: u64, wall_us: i64| {
            let now = reading.at + Duration::from_secs(seconds);
            let time = reading.time_at(now, Timestamp::from_us(wall_us));
            time.map(|time| time.us())
        };
        assert_eq!(later(3, 53_000_000), Some(10_000_000));
        assert_eq!(later(3, 53_050_000), Some(10_000_000), "no clock is exact");
        assert_eq!(later(10, 60_000_000), None, "it is old");
        assert_eq!(later(3, 113_000_000), None, "it stood still for a minute");
        assert_eq!(later(3, 40_000_000), None, "its clock was set back");
    }
}
