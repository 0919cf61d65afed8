//! One stream from Started to Goodbye.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;
use uuid::Uuid;

use super::Watching;
use super::request::WatchRequest;
use crate::clock;
use crate::domain::{LevelKey, StockLevel, Version};
use crate::error::{Error, chain};
use crate::feed::Watch;
use crate::proto::watch_stock_response::Event;
use crate::proto::{
    GoodbyeReason, WatchChanges, WatchGoodbye, WatchHeartbeat, WatchStarted, WatchStockResponse,
    WatchSynced,
};
use crate::storage::StorageError;
use crate::telemetry::Held;

/// Levels of one message: about 100 KB.
const MESSAGE_LEVELS_MAX: usize = 1_000;

/// When a watcher should come back after Goodbye, spread over this much so that
/// the streams of an instance do not come back at once.
const RECONNECT_SPREAD_MS: std::ops::Range<u64> = 50..1_000;

/// How far an age limit is jittered, in percent of it to either side.
const AGE_JITTER_PERCENT: u64 = 10;

/// What the stream does next.
enum Phase {
    Start,
    Snapshot(Snapshot),
    Live,
    /// Goodbye has been sent; the status that follows it.
    Leaving(Error),
    Ended,
}

/// How far the snapshot has come.
enum Snapshot {
    /// Pages of all levels after this one. `unlisted`: seen levels not met yet.
    All {
        after: Option<LevelKey>,
        unlisted: BTreeSet<LevelKey>,
    },
    /// Levels by name that are still to be read.
    Named(VecDeque<LevelKey>),
}

pub(super) struct Session {
    watching: Watching,
    watch: Watch,
    store_id: Uuid,
    /// The last version sent or seen of each level: what makes versions rise.
    sent: HashMap<LevelKey, Version>,
    /// The caller's versions are another store's: each level is sent anew.
    forgotten: bool,
    phase: Phase,
    ready: VecDeque<Event>,
    heartbeat_at: Instant,
    ends_at: Instant,
    /// Counts the stream as open, however it ends.
    _open: Held,
}

impl Session {
    pub(super) fn new(
        watching: Watching,
        request: WatchRequest,
        watch: Watch,
        store_id: Uuid,
    ) -> Self {
        let forgotten = request.store_id.is_some_and(|id| id != store_id);
        let now = Instant::now();
        Self {
            ends_at: now + jittered(watching.config.age_max()),
            heartbeat_at: now + watching.config.heartbeat(),
            _open: watching.counters.watches.streams.hold(1),
            watching,
            watch,
            store_id,
            sent: if forgotten {
                HashMap::new()
            } else {
                request.seen
            },
            forgotten,
            phase: Phase::Start,
            ready: VecDeque::new(),
        }
    }

    /// The next message, or the status that ends the stream, or nothing.
    pub(super) async fn next(&mut self) -> Option<Result<WatchStockResponse, Status>> {
        while self.ready.is_empty() {
            match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Start => self.start(),
                Phase::Snapshot(snapshot) => match self.read(snapshot).await {
                    Ok(phase) => self.phase = phase,
                    Err(error) => {
                        tracing::error!(error = chain(&error), "cannot read a watch's snapshot");
                        let why = Error::StoreUnavailable(None);
                        self.leave(GoodbyeReason::StoreUnavailable, why);
                    }
                },
                Phase::Live => self.live().await,
                Phase::Leaving(error) => return Some(Err(error.into())),
                Phase::Ended => return None,
            }
        }
        self.heartbeat_at = Instant::now() + self.watching.config.heartbeat();
        let event = self.ready.pop_front();
        Some(Ok(WatchStockResponse { event }))
    }

    fn start(&mut self) {
        self.ready.push_back(Event::Started(WatchStarted {
            store_id: self.store_id.to_string(),
            heartbeat_interval: Some(duration(self.watching.config.heartbeat())),
            server_time: Some(clock::now().into()),
        }));
        let targets = self.watch.targets();
        self.phase = Phase::Snapshot(if targets.all {
            Snapshot::All {
                after: None,
                unlisted: targets.keys.clone(),
            }
        } else {
            Snapshot::Named(targets.keys.iter().cloned().collect())
        });
    }

    /// Reads the next page of the snapshot.
    async fn read(&mut self, snapshot: Snapshot) -> Result<Phase, StorageError> {
        let store = &self.watching.store;
        match snapshot {
            Snapshot::All {
                after,
                mut unlisted,
            } => {
                let page = store
                    .list_levels(after.as_ref(), "", false, MESSAGE_LEVELS_MAX)
                    .await?;
                for level in &page.levels {
                    unlisted.remove(&level.key);
                }
                let after = page.levels.last().map(|level| level.key.clone());
                self.send_snapshot(page.levels);
                Ok(Phase::Snapshot(if page.more {
                    Snapshot::All { after, unlisted }
                } else {
                    // Levels that the caller names and that have no row.
                    Snapshot::Named(unlisted.into_iter().collect())
                }))
            }
            Snapshot::Named(mut keys) => {
                let page: Vec<LevelKey> =
                    keys.drain(..keys.len().min(MESSAGE_LEVELS_MAX)).collect();
                if page.is_empty() {
                    self.ready.push_back(Event::Synced(WatchSynced {
                        server_time: Some(clock::now().into()),
                    }));
                    return Ok(Phase::Live);
                }
                let loaded = store.read_levels(&page).await?;
                self.send_snapshot(loaded.into_iter().map(|loaded| loaded.level).collect());
                Ok(Phase::Snapshot(Snapshot::Named(keys)))
            }
        }
    }

    /// Sends what is above what the caller has seen, and with `reset` what is
    /// below it: then the store has lost commits.
    fn send_snapshot(&mut self, levels: Vec<StockLevel>) {
        let (mut newer, mut reset) = (Vec::new(), Vec::new());
        for level in levels {
            match self.sent.get(&level.key) {
                _ if self.forgotten => reset.push(level),
                Some(&seen) if seen > level.version => reset.push(level),
                Some(&seen) if seen == level.version => {}
                _ => newer.push(level),
            }
        }
        self.send(&reset, true);
        self.send(&newer, false);
    }

    fn send(&mut self, levels: &[StockLevel], reset: bool) {
        if levels.is_empty() {
            return;
        }
        for level in levels {
            self.sent.insert(level.key.clone(), level.version);
        }
        let counters = &self.watching.counters;
        counters.watch_deliveries.add(levels.len() as u64);
        self.ready.push_back(Event::Changes(WatchChanges {
            levels: levels.iter().map(Into::into).collect(),
            reset,
        }));
    }

    /// Waits for the next thing to say.
    async fn live(&mut self) {
        self.phase = Phase::Live;
        tokio::select! {
            biased;
            () = self.watching.gate.draining.cancelled() => {
                self.leave(GoodbyeReason::Draining, Error::Draining);
            }
            () = sleep_until(self.ends_at) => {
                self.leave(GoodbyeReason::Age, Error::Draining);
            }
            levels = self.watch.changed(MESSAGE_LEVELS_MAX) => {
                let above = |level: &StockLevel| {
                    self.sent.get(&level.key).is_none_or(|sent| *sent < level.version)
                };
                let levels: Vec<StockLevel> = levels.into_iter().filter(above).collect();
                self.send(&levels, false);
            }
            () = sleep_until(self.heartbeat_at) => {
                self.ready.push_back(Event::Heartbeat(WatchHeartbeat {
                    server_time: Some(clock::now().into()),
                }));
            }
        }
    }

    fn leave(&mut self, reason: GoodbyeReason, why: Error) {
        let goodbyes = &self.watching.counters.watches.goodbyes;
        match reason {
            GoodbyeReason::Draining => goodbyes.draining.add(1),
            GoodbyeReason::Age => goodbyes.age.add(1),
            GoodbyeReason::StoreUnavailable => goodbyes.store_unavailable.add(1),
            GoodbyeReason::Unspecified => unreachable!("it is never sent"),
        }
        let after = Duration::from_millis(rand::random_range(RECONNECT_SPREAD_MS));
        self.ready.push_back(Event::Goodbye(WatchGoodbye {
            reason: reason.into(),
            reconnect_after: Some(duration(after)),
        }));
        self.phase = Phase::Leaving(why);
    }
}

/// An age limit, up to [`AGE_JITTER_PERCENT`] shorter or longer, so that streams
/// that began together do not end together.
fn jittered(age_max: Duration) -> Duration {
    let percent = rand::random_range(100 - AGE_JITTER_PERCENT..=100 + AGE_JITTER_PERCENT);
    age_max * percent as u32 / 100
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}
