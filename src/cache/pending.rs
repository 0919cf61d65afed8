//! Levels that were committed here, or read for somebody who missed them, and that may
//! not be in Redis yet; and those whose product was deleted here.
//!
//! The newest version of each; reads on this instance look here first, so that after its
//! answer a commit is seen here whatever Redis is doing. A level stays until Redis took
//! it, or as long as an entry lives: then nothing older can be left in Redis, and the
//! level need neither be written nor be shown any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Cmd;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::entry::{Entry, WRITE};
use crate::domain::LevelKey;
use crate::lock::lock;
use crate::redis_link::Unanswered;
use crate::telemetry::CacheCounters;

/// How long levels that could not be written wait before they are tried again: of a
/// cluster, a part may be away while the others take theirs.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Most levels of one write, which takes Redis some 100 µs.
const LEVELS_AT_ONCE_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Pending {
    levels_max: usize,
    /// As long as an entry lives.
    ttl: Duration,
    state: Mutex<State>,
    came: Notify,
    counters: CacheCounters,
}

#[derive(Debug, Default)]
struct State {
    levels: HashMap<LevelKey, Waiting>,
    /// Those to write, the longest waiting first. One that is being written is not here,
    /// unless it has changed meanwhile.
    due: VecDeque<LevelKey>,
    /// Those that could not be written, and when the first of them was tried.
    failed: Vec<LevelKey>,
    failed_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    since: Instant,
    is_due: bool,
}

impl Pending {
    pub(super) fn new(levels_max: usize, ttl: Duration, counters: CacheCounters) -> Self {
        Self {
            levels_max,
            ttl,
            state: Mutex::default(),
            came: Notify::new(),
            counters,
        }
    }

    /// Keeps those that are newer than what is here.
    pub(super) fn add(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        for entry in entries.into_iter().filter(|it| it.version().number() > 0) {
            let state = &mut *state;
            if let Some(waiting) = state.levels.get_mut(entry.key()) {
                if entry.version() > waiting.entry.version() {
                    if !waiting.is_due {
                        waiting.is_due = true;
                        state.due.push_back(entry.key().clone());
                    }
                    waiting.entry = entry;
                    waiting.since = now;
                }
            } else if state.levels.len() < self.levels_max {
                state.due.push_back(entry.key().clone());
                let waiting = Waiting {
                    since: now,
                    is_due: true,
                    entry,
                };
                state.levels.insert(waiting.entry.key().clone(), waiting);
            } else {
                self.counters.dropped.add(1);
            }
        }
        self.counters.waiting.set(state.levels.len() as i64);
        if !state.due.is_empty() {
            self.came.notify_one();
        }
    }

    /// What is here of `keys` and no older than an entry may be; none if nothing is. Where
    /// something is, what Redis has is older.
    pub(super) fn look_up(&self, keys: &[LevelKey], now: Instant) -> Option<Vec<Option<Entry>>> {
        let state = lock(&self.state);
        if state.levels.is_empty() {
            return None;
        }
        let waiting = keys.iter().map(|key| {
            let waiting = state.levels.get(key);
            waiting.filter(|it| self.is_of_use(it, now))
        });
        let found = waiting.map(|it| it.map(|it| it.entry.clone()));
        let found: Vec<Option<Entry>> = found.collect();
        found.iter().any(Option::is_some).then_some(found)
    }

    /// Whether something older can be left in Redis.
    fn is_of_use(&self, waiting: &Waiting, now: Instant) -> bool {
        now.saturating_duration_since(waiting.since) < self.ttl
    }

    /// Takes some that are due, without those that nothing older can be left of.
    fn take_due(&self, now: Instant) -> Vec<Entry> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let retry = |at| now.saturating_duration_since(at) >= RETRY_PAUSE;
        if state.failed_at.is_some_and(retry) {
            state.failed_at = None;
            state.due.extend(state.failed.drain(..));
        }
        let mut due = Vec::new();
        while due.len() < LEVELS_AT_ONCE_MAX {
            let Some(key) = state.due.pop_front() else {
                break;
            };
            let Some(waiting) = state.levels.get_mut(&key) else {
                continue;
            };
            waiting.is_due = false;
            if self.is_of_use(waiting, now) {
                due.push(waiting.entry.clone());
            } else {
                state.levels.remove(&key);
            }
        }
        self.counters.waiting.set(state.levels.len() as i64);
        due
    }

    /// Waits until there may be something due.
    async fn may_be_due(&self) {
        let retry = lock(&self.state).failed_at.is_some();
        if retry {
            let _ = timeout(RETRY_PAUSE, self.came.notified()).await;
        } else {
            self.came.notified().await;
        }
    }

    /// Of what was due, Redis has these, or later ones, and the others it has not.
    fn tried(&self, written: &[Entry], failed: &[Entry], now: Instant) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        for entry in written {
            let waiting = state.levels.get(entry.key());
            if waiting.is_some_and(|it| it.entry.version() <= entry.version()) {
                state.levels.remove(entry.key());
            }
        }
        for entry in failed {
            if let Some(waiting) = state.levels.get_mut(entry.key())
                && !waiting.is_due
            {
                waiting.is_due = true;
                state.failed.push(entry.key().clone());
                // Not put off by those that fail later: there may always be some.
                state.failed_at.get_or_insert(now);
            }
        }
        self.counters.waiting.set(state.levels.len() as i64);
    }
}

/// Writes what is due, whenever Redis can be asked.
pub(super) async fn write_forever(shared: Arc<Shared>) {
    let pending = &shared.pending;
    loop {
        shared.link.connected().await;
        let Some(prefix) = shared.prefix.get() else {
            pending.may_be_due().await;
            continue;
        };
        let due = pending.take_due(Instant::now());
        if due.is_empty() {
            pending.may_be_due().await;
        } else {
            let (written, failed) = write(&shared, prefix, due).await;
            pending.tried(&written, &failed, Instant::now());
        }
    }
}

/// Writes `entries`; returns those that Redis took or has later ones of, and the others.
async fn write(shared: &Shared, prefix: &str, entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    // The keys of a cluster are each by itself.
    let at_once = if shared.link.is_cluster() {
        1
    } else {
        entries.len()
    };
    let ttl = shared.ttl.as_millis() as u64;
    let writes = entries.chunks(at_once).map(|entries| {
        let mut command = Cmd::new();
        command.arg("EVAL").arg(WRITE).arg(entries.len());
        for entry in entries {
            command.arg(format!("{prefix}{}", entry.key()));
        }
        command.arg(ttl);
        for entry in entries {
            command.arg(entry.encode());
        }
        command
    });
    let writes: Vec<Cmd> = writes.collect();
    // Nobody waits for them, so none is given up because others were quicker.
    let time = shared.link.timeout();
    let answers = shared
        .link
        .ask_each::<u64>(&writes, Instant::now() + time, time)
        .await;
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    for (entries, answer) in entries.chunks(at_once).zip(answers) {
        match answer {
            Ok(refused) => {
                shared.counters.refused.add(refused);
                shared.counters.writes.add(entries.len() as u64 - refused);
                written.extend_from_slice(entries);
            }
            Err(Unanswered) => failed.extend_from_slice(entries),
        }
    }
    (written, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::telemetry::Counters;

    const TTL: Duration = Duration::from_secs(30);

    fn level(sku: &str, version: i64) -> Entry {
        Entry::Level(samples::level(sku, version, 0))
    }

    fn pending() -> Pending {
        Pending::new(1_000, TTL, Counters::default().cache)
    }

    #[test]
    fn what_failed_is_tried_again_however_often_others_fail() {
        let pending = pending();
        let began = Instant::now();
        pending.add([level("first", 5)]);
        let mut now = began;
        for other in 0.. {
            let due = pending.take_due(now);
            if other > 0 && due.contains(&level("first", 5)) {
                break;
            }
            pending.tried(&[], &due, now);
            now += RETRY_PAUSE / 10;
            pending.add([level(&format!("other-{other}"), 1)]);
            let waited = now - began;
            assert!(waited <= RETRY_PAUSE * 2, "after {waited:?}");
        }
    }

    #[test]
    fn a_level_that_redis_does_not_take_is_shown_as_long_as_an_entry_lives() {
        let pending = pending();
        let kept = level("a", 5);
        let keys = [kept.key().clone()];
        pending.add([kept.clone()]);
        let added = Instant::now();
        let due = pending.take_due(added);
        pending.tried(&[], &due, added);
        let shown = pending.look_up(&keys, added + TTL / 2);
        assert_eq!(shown, Some(vec![Some(kept)]));
        assert_eq!(pending.look_up(&keys, added + TTL), None);
        assert_eq!(pending.take_due(added + TTL), []);
        assert_eq!(pending.counters.waiting.get(), 0);
    }
}
