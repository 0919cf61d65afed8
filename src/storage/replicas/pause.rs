//! How long a replica is left out whose checks are good and on which reads fail.
//!
//! Each failure costs callers the time that a read may take, so they come ever further
//! apart: the pause doubles, up to a bound, until the replica has served for as long as
//! that. A failure after good times is chance, and the next check may end it.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the second failure in a row.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest pause, and how long a replica has to serve for its failures to be forgotten.
/// By default those who read then lose a quarter of a second a minute to one that never
/// reads well.
const LONGEST: Duration = Duration::from_secs(60);

/// The pauses of one replica.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// The last one's.
    length: Duration,
    /// When it is over; none while there is none.
    over: Option<Instant>,
    /// When the replica was taken back last.
    taken_back: Option<Instant>,
}

impl Pause {
    /// To be called when the failure of a read leaves the replica out.
    pub(super) fn begin(&mut self, now: Instant) {
        let served = self.taken_back.map(|at| now.saturating_duration_since(at));
        self.length = match served {
            Some(served) if served < LONGEST => (2 * self.length).clamp(SHORTEST, LONGEST),
            _ => Duration::ZERO,
        };
        self.over = Some(now + self.length);
    }

    /// To be called when a check finds the replica unfit: what the matter is checks see, and
    /// they will see when it is over.
    pub(super) fn lift(&mut self) {
        self.over = None;
    }

    /// Whether the replica may be taken back.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over.is_none_or(|over| over <= now)
    }

    /// To be called when it is taken back.
    pub(super) fn end(&mut self, now: Instant) {
        self.over = None;
        self.taken_back = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins a pause, and returns when it is over.
    fn begin(pause: &mut Pause, now: Instant) -> Instant {
        pause.begin(now);
        let over = pause.over.unwrap();
        assert!(pause.is_over(over));
        assert!(over == now || !pause.is_over(over - Duration::from_millis(1)));
        over
    }

    #[test]
    fn failures_in_a_row_come_ever_further_apart_up_to_a_bound() {
        let mut pause = Pause::default();
        let mut now = Instant::now();
        assert!(pause.is_over(now));
        pause.end(now);
        let pauses = (0..9).map(|_| {
            let over = begin(&mut pause, now);
            let length = over - now;
            now = over;
            pause.end(now);
            length.as_secs()
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_pause_ends_when_a_check_finds_the_reason() {
        let mut pause = Pause::default();
        let now = Instant::now();
        pause.end(now);
        assert_eq!(begin(&mut pause, now), now + SHORTEST);
        pause.lift();
        assert!(pause.is_over(now));
    }

    #[test]
    fn a_failure_after_good_times_is_forgiven_at_once() {
        let mut pause = Pause::default();
        let mut now = Instant::now();
        pause.end(now);
        for _ in 0..5 {
            now = begin(&mut pause, now);
            pause.end(now);
        }
        now += LONGEST;
        assert_eq!(begin(&mut pause, now), now);
        pause.end(now);
        assert_eq!(begin(&mut pause, now), now + SHORTEST);
    }
}
