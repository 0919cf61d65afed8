//! Telling the other instances what was committed here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Backoff;
use super::payload::Changed;
use crate::domain::StockLevel;
use crate::error::chain;
use crate::lock::lock;
use crate::storage::Hints;
use crate::telemetry::Counter;

/// At most one hint in this time. NOTIFY takes a lock that a PostgreSQL server has one
/// of and wakes every listener, so its cost shall not grow with the commits; a hundredth
/// of a second until a watcher elsewhere knows leaves room for two of these.
const HINT_INTERVAL: Duration = Duration::from_millis(5);

/// What is to be told; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct HintOutbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Tells this process's hints from those of others.
    origin: u64,
    changed: Mutex<Changed>,
    wake: Notify,
}

impl Default for HintOutbox {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                origin: rand::random(),
                changed: Mutex::default(),
                wake: Notify::new(),
            }),
        }
    }
}

impl HintOutbox {
    /// To be called after each commit. Neither waits nor grows: beyond what a hint can
    /// say it remembers only that there was more.
    pub(crate) fn committed(&self, levels: &[StockLevel]) {
        let mut changed = lock(&self.shared.changed);
        if changed.is_everything() {
            return;
        }
        for level in levels {
            changed.add(&level.key, level.version);
        }
        drop(changed);
        self.shared.wake.notify_one();
    }

    pub(super) fn origin(&self) -> u64 {
        self.shared.origin
    }

    /// Waits until there is something to tell.
    async fn next(&self) -> String {
        loop {
            let woken = self.shared.wake.notified();
            {
                let mut changed = lock(&self.shared.changed);
                if !changed.is_empty() {
                    return changed.take(self.shared.origin);
                }
            }
            woken.await;
        }
    }
}

/// Sends what `outbox` has to tell, until dropped. What cannot be sent is made up for by
/// one hint that says "anything", as soon as the database takes hints again.
pub(super) async fn send_forever(outbox: HintOutbox, hints: Hints, sent: Counter) {
    let mut sender = hints.sender();
    let mut backoff = Backoff::default();
    loop {
        let hint = outbox.next().await;
        let pause = match sender.send(&hint).await {
            Ok(()) => {
                sent.add(1);
                backoff.succeeded();
                HINT_INTERVAL
            }
            Err(error) => {
                if !backoff.is_failing() {
                    tracing::warn!(
                        error = chain(&error),
                        "cannot tell other instances of changes"
                    );
                }
                lock(&outbox.shared.changed).everything();
                backoff.failed()
            }
        };
        sleep_until(Instant::now() + pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::level;

    #[tokio::test]
    async fn commits_in_between_make_one_hint() {
        let outbox = HintOutbox::default();
        outbox.committed(&[level("a", 1, 0)]);
        outbox.committed(&[level("a", 2, 0)]);
        let origin = outbox.origin();
        assert_eq!(outbox.next().await, format!("{origin:016x} a:2"));
        assert!(lock(&outbox.shared.changed).is_empty());
    }
}
