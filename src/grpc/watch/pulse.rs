//! What happens to a stream by itself: it grows silent, it grows old, the server
//! is shut down.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::WatchConfig;

/// How far an age limit is jittered, in percent of it to either side.
const AGE_JITTER_PERCENT: u64 = 10;

/// What has become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// The stream has been silent for the heartbeat interval.
    Silent,
    /// It has reached its age limit.
    Old,
    /// The server shuts down.
    Draining,
}

/// The timers of one stream.
pub(super) struct Pulse {
    heartbeat: Duration,
    /// When the stream will have been silent for too long.
    silent_at: Instant,
    old_at: Instant,
    /// Rings at the earlier of the two, or too early: moving it with each message
    /// would cost more than being woken once an interval for nothing.
    timer: Pin<Box<Sleep>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Pulse {
    pub(super) fn new(config: &WatchConfig, draining: &CancellationToken) -> Self {
        let (now, heartbeat) = (Instant::now(), config.heartbeat());
        let (silent_at, old_at) = (now + heartbeat, now + jittered(config.age_max()));
        Self {
            heartbeat,
            silent_at,
            old_at,
            timer: Box::pin(sleep_until(silent_at.min(old_at))),
            draining: Box::pin(draining.clone().cancelled_owned()),
        }
    }

    /// A message is being sent: the silence begins anew.
    pub(super) fn spoke(&mut self) {
        self.silent_at = Instant::now() + self.heartbeat;
    }

    /// Waits until something is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        if self.draining.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Beat::Draining);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.old_at {
                return Poll::Ready(Beat::Old);
            }
            if now >= self.silent_at {
                return Poll::Ready(Beat::Silent);
            }
            let rings_at = self.silent_at.min(self.old_at);
            self.timer.as_mut().reset(rings_at);
        }
        Poll::Pending
    }
}

/// An age limit, up to [`AGE_JITTER_PERCENT`] shorter or longer, so that streams
/// that began together do not end together.
fn jittered(age_max: Duration) -> Duration {
    let percent = rand::random_range(100 - AGE_JITTER_PERCENT..=100 + AGE_JITTER_PERCENT);
    age_max * percent as u32 / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_limits_are_spread_by_a_tenth_to_either_side() {
        let age_max = Duration::from_secs(1_000);
        let mut ages: Vec<Duration> = (0..1_000).map(|_| jittered(age_max)).collect();
        ages.sort();
        let (youngest, oldest) = (ages[0], ages[999]);
        assert!(youngest >= Duration::from_secs(900) && oldest <= Duration::from_secs(1_100));
        assert!(
            oldest - youngest > Duration::from_secs(150),
            "{youngest:?} to {oldest:?}"
        );
    }
}
