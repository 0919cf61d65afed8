//! When the calls of a load begin, and which of them are measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The runtime's timer is this coarse. A caller that was ready in time may
/// begin this much late without it counting as the server's latency.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// How long an open loop goes on after its end to send what fell due before, so that a
/// stall is paid for by all that it delays, at the end too. As long as a server gives a
/// call by default: what a stall of that length held up is sent, and the load still ends.
pub(super) const GRACE: Duration = Duration::from_secs(10);

const NS_PER_S: u128 = 1_000_000_000;

/// When calls are made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// When the caller has the answer to the last one.
    Closed,
    /// When it is due, at so many a second.
    Open(u32),
}

/// The times of a load, which all callers share.
#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    measure_from: Instant,
    end: Instant,
    pub(super) pace: Pace,
    /// The number of the next call of an open loop.
    next: AtomicU64,
}

/// One call's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// When it was to be made; in a closed loop when it was.
    due: Instant,
    /// When its latency begins.
    pub(super) begun: Instant,
}

impl Schedule {
    /// Begins now.
    pub(super) fn begin(pace: Pace, warmup: Duration, measured: Duration) -> Self {
        let start = Instant::now();
        let measure_from = start + warmup;
        Self {
            start,
            measure_from,
            end: measure_from + measured,
            pace,
            next: AtomicU64::new(0),
        }
    }

    /// Waits for the next call's turn; None when it is time to end.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let Pace::Open(rate) = self.pace else {
            let now = Instant::now();
            let turn = Turn {
                due: now,
                begun: now,
            };
            return (now < self.end).then_some(turn);
        };
        let due = self.start + due_after(self.next.fetch_add(1, Ordering::Relaxed), rate);
        if due >= self.end {
            return None;
        }
        sleep_until(due).await;
        let now = Instant::now();
        let begun = now.min(due + TIMER_GRAIN);
        (now < self.end + GRACE).then_some(Turn { due, begun })
    }

    /// Whether the call that was answered at `ended` counts. In an open loop that is
    /// settled when it falls due: an answer that comes late counts as late as it is.
    pub(super) fn is_measured(&self, turn: Turn, ended: Instant) -> bool {
        let at = match self.pace {
            Pace::Closed => ended,
            Pace::Open(_) => turn.due,
        };
        (self.measure_from..self.end).contains(&at)
    }

    /// How long after the end the last call was answered.
    pub(super) fn overrun(&self, last: Option<Instant>) -> Duration {
        last.map_or(Duration::ZERO, |last| {
            last.saturating_duration_since(self.end)
        })
    }

    /// The calls that fall due while an open loop is measured; of a closed one none does.
    pub(super) fn due_while_measured(&self) -> u64 {
        match self.pace {
            Pace::Closed => 0,
            Pace::Open(rate) => {
                due_before(self.end - self.start, rate)
                    - due_before(self.measure_from - self.start, rate)
            }
        }
    }
}

/// How long after the start the call with this number is due.
fn due_after(number: u64, rate: u32) -> Duration {
    let ns = u128::from(number) * NS_PER_S / u128::from(rate);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// How many calls are due before `time` has passed since the start. In whole numbers, as
/// [`due_after`] is, so that both agree on every call.
fn due_before(time: Duration, rate: u32) -> u64 {
    let calls = (time.as_nanos() * u128::from(rate)).div_ceil(NS_PER_S);
    u64::try_from(calls).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_that_are_due_before_a_time_are_those_whose_time_is_before_it() {
        let times = [0, 1, 333_333_333, 1_000_000_000, 86_400_000_000_001];
        for time in times.map(Duration::from_nanos) {
            for rate in [1, 3, 7, 999_983, 1_000_000] {
                let due = due_before(time, rate);
                assert!(due_after(due, rate) >= time, "{due} of {rate} in {time:?}");
                if let Some(last) = due.checked_sub(1) {
                    assert!(due_after(last, rate) < time, "{due} of {rate} in {time:?}");
                }
            }
        }
    }

    #[test]
    fn an_open_loop_measures_what_falls_due_whenever_it_is_answered() {
        let second = Duration::from_secs(1);
        let schedule = Schedule::begin(Pace::Open(100), second, second);
        assert_eq!(schedule.due_while_measured(), 100);
        let answered = schedule.end + GRACE;
        let is_measured = |number| {
            let due = schedule.start + due_after(number, 100);
            schedule.is_measured(Turn { due, begun: due }, answered)
        };
        let measured: Vec<u64> = (0..300).filter(|number| is_measured(*number)).collect();
        assert_eq!(measured, (100..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_closed_loop_measures_what_is_answered_in_time() {
        let second = Duration::from_secs(1);
        let schedule = Schedule::begin(Pace::Closed, second, second);
        assert_eq!(schedule.due_while_measured(), 0);
        let turn = Turn {
            due: schedule.start,
            begun: schedule.start,
        };
        for (ended_after, is_measured) in [(0.5, false), (1.5, true), (2.5, false)] {
            let ended = schedule.start + Duration::from_secs_f64(ended_after);
            assert_eq!(schedule.is_measured(turn, ended), is_measured);
        }
    }
}
