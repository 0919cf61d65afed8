//! How far a replica is behind, as a time.
//!
//! The primary's position in its log is noted each round. A replica that has replayed
//! up to a position shows everything that was committed when the primary stood there,
//! so its lag is at most the age of the last note at or below it. That needs no clock
//! but ours, nothing written, and no commits: on an idle primary, where the time of
//! the last commit says nothing, position and replay are equal and the lag is none.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A place in the primary's log, in bytes since it began.
pub(super) type Position = i64;

/// Asks the primary for its position: written, not flushed, so on its way to the replicas.
macro_rules! primary_stands {
    () => {
        "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
    };
}

/// Asks a replica for its. What is not streamed has none.
macro_rules! replica_shows {
    () => {
        "SELECT coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)"
    };
}

pub(super) use {primary_stands, replica_shows};

/// Notes kept at most: 24 KB. When there are more, every other one goes, which makes
/// large lags look larger by a note, and never smaller.
const NOTES_MAX: usize = 1_024;

/// Where the primary stood, and when it was asked.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Both rise.
    notes: VecDeque<(Instant, Position)>,
}

impl Track {
    /// Notes where the primary stands; it was asked at `at`.
    pub(super) fn note(&mut self, at: Instant, position: Position) {
        match self.notes.back_mut() {
            Some(last) if last.1 == position => last.0 = at,
            // Another history begins.
            Some(last) if last.1 > position => {
                self.notes.clear();
                self.notes.push_back((at, position));
            }
            _ => self.notes.push_back((at, position)),
        }
        if self.notes.len() > NOTES_MAX {
            let mut place = 0;
            self.notes.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }

    /// The most that a replica can be behind at `now`; none when it is further behind
    /// than anything that is noted.
    pub(super) fn lag(&self, replayed: Position, now: Instant) -> Option<Duration> {
        let shown = self.notes.partition_point(|(_, noted)| *noted <= replayed);
        let (at, _) = self.notes.get(shown.checked_sub(1)?)?;
        Some(now.saturating_duration_since(*at))
    }

    /// Where the primary stood last.
    pub(super) fn last(&self) -> Option<Position> {
        self.notes.back().map(|(_, position)| *position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lag_is_the_age_of_the_last_note_that_is_shown() {
        let begin = Instant::now();
        let mut track = Track::default();
        assert_eq!(track.lag(5, begin), None);
        for (second, position) in [(0, 100), (1, 200), (2, 300)] {
            track.note(begin + SECOND * second, position);
        }
        let now = begin + SECOND * 2;
        assert_eq!(track.lag(300, now), Some(Duration::ZERO));
        assert_eq!(track.lag(299, now), Some(SECOND));
        assert_eq!(track.lag(150, now), Some(SECOND * 2));
        assert_eq!(track.lag(99, now), None);
    }

    #[test]
    fn an_idle_primary_makes_nobody_late() {
        let begin = Instant::now();
        let mut track = Track::default();
        for second in 0..3_600 {
            track.note(begin + SECOND * second, 100);
        }
        assert_eq!(track.notes.len(), 1);
        let now = begin + SECOND * 3_599;
        assert_eq!(track.lag(100, now), Some(Duration::ZERO));
    }

    #[test]
    fn many_notes_are_thinned_out_and_make_no_lag_smaller() {
        let begin = Instant::now();
        let mut track = Track::default();
        let rounds = 100_000;
        for round in 0..=rounds {
            track.note(begin + SECOND * round, i64::from(round));
        }
        assert!(track.notes.len() <= NOTES_MAX);
        let now = begin + SECOND * rounds;
        for behind in [0, 1, 10, 1_000, 50_000] {
            let lag = track.lag(i64::from(rounds - behind), now);
            assert!(
                lag.is_none_or(|lag| lag >= SECOND * behind),
                "{behind}: {lag:?}"
            );
        }
        assert_eq!(track.lag(i64::from(rounds), now), Some(Duration::ZERO));
    }

    #[test]
    fn a_primary_that_stands_before_where_it_stood_has_another_history() {
        let begin = Instant::now();
        let mut track = Track::default();
        track.note(begin, 100);
        track.note(begin + SECOND, 50);
        assert_eq!(track.lag(49, begin + SECOND), None);
        assert_eq!(track.last(), Some(50));
    }
}
