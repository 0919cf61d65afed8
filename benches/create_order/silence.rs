//! How long somebody who watches a level waited for a change of it.

use std::time::{Duration, Instant};

/// The changes that came and the longest wait for one. Knows no stream: it is told.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Since when nothing has come.
    since: Instant,
    is_synced: bool,
    /// Changes after the snapshot.
    pub(crate) changes: u64,
    worst: Duration,
}

impl Silence {
    /// Somebody began to watch.
    pub(crate) fn begin(at: Instant) -> Self {
        Self {
            since: at,
            is_synced: false,
            changes: 0,
            worst: Duration::ZERO,
        }
    }

    /// The snapshot has come; from the first time on changes are waited for. A stream that
    /// ended and came back has been silent meanwhile.
    pub(crate) fn synced(&mut self, at: Instant) {
        if !self.is_synced {
            self.is_synced = true;
            self.since = at;
        }
    }

    /// Levels came; before the stream is synced they are the snapshot.
    pub(crate) fn change(&mut self, at: Instant) {
        if !self.is_synced {
            return;
        }
        // Nobody changes anything before the first one.
        if self.changes > 0 {
            self.worst = self.worst.max(at - self.since);
        }
        self.changes += 1;
        self.since = at;
    }

    /// The longest wait, up to `end`, when changes were still being made: what did not come
    /// at all was waited for as well.
    pub(crate) fn longest_until(&self, end: Instant) -> Duration {
        self.worst.max(end.saturating_duration_since(self.since))
    }
}
