//! WatchStock: the life of one stream.
//!
//! A stream is pulled by its connection: one message at most is made while the reader
//! does not read, and changes meanwhile are folded in the feed's mailbox. The
//! watch on the feed begins before the snapshot is read, so nothing falls
//! between the two; versions decide what is new.
//!
//! The method is answered here and not by generated code: a stream's messages
//! are bytes that are made once and shared by all streams ([`wire`]), and an idle
//! stream costs a few hundred bytes of ours.

mod cursor;
mod history;
mod permits;
mod pulse;
mod request;
mod server;
mod session;
mod snapshot;
mod turns;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use self::permits::Permits;
use self::request::WatchRequest;
pub(crate) use self::server::{InventoryServer, WATCH_STOCK};
use self::session::Session;
use self::turns::{Turns, joined};
use super::Gate;
use crate::config::WatchConfig;
use crate::error::{Error, WatchBound};
use crate::feed::Feed;
use crate::proto::WatchStockRequest;
use crate::storage::Store;
use crate::telemetry::Counters;

/// Levels of one message: about 100 KB.
const MESSAGE_LEVELS_MAX: usize = 1_000;

/// Levels of a request that are taken in on the callers' thread: some milliseconds. What
/// names more, up to 100,000 when it resumes, would keep every call waiting.
const LEVELS_AT_ONCE: usize = 1_000;

/// What every watch needs.
pub(crate) struct Watching {
    feed: Feed,
    store: Store,
    config: WatchConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
    permits: Permits,
    /// Whose turn it is to read a page of a snapshot …
    snapshot_turns: Turns,
    /// … the same on replicas, if there are any …
    replica_turns: Option<Turns>,
    /// … and of the ledger, which live streams need as well.
    ledger_turns: Turns,
    /// One of the watches of many levels may begin.
    beginning: Arc<Semaphore>,
    /// Read once: a server does not outlive its store.
    store_id: OnceCell<Uuid>,
}

impl Watching {
    pub(crate) fn new(
        feed: &Feed,
        store: &Store,
        config: &WatchConfig,
        counters: &Arc<Counters>,
        gate: &Arc<Gate>,
    ) -> Self {
        Self {
            feed: feed.clone(),
            store: store.clone(),
            config: config.clone(),
            counters: Arc::clone(counters),
            gate: Arc::clone(gate),
            permits: Permits::new(config),
            snapshot_turns: Turns::new(),
            replica_turns: Turns::on_replicas(store.replica_count()),
            ledger_turns: Turns::new(),
            beginning: Arc::new(Semaphore::new(1)),
            store_id: OnceCell::new(),
        }
    }

    /// Begins a watch for a caller on the connection from `peer`.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::TooManyWatches`], [`Error::StoreUnavailable`],
    /// [`Error::Draining`].
    async fn begin(
        self: &Arc<Self>,
        request: WatchStockRequest,
        peer: Option<SocketAddr>,
    ) -> Result<Session, Error> {
        self.gate.pass()?;
        // First of all: the store is not waited for in a turn that others wait for.
        let store_id = *self
            .store_id
            .get_or_try_init(|| self.store.store_id())
            .await?;
        let levels = request.selectors.len() + request.seen.len();
        let is_resume = !request.seen.is_empty();
        let watching = Arc::clone(self);
        let session = move || watching.session(request, store_id, peer);
        let session = self.aside(levels, session).await?;
        if is_resume {
            self.counters.watches.resumes.add(1);
        }
        Ok(session)
    }

    /// All that a request takes, from its words to its stream, in one go: whoever has a turn
    /// begins in it. If all were read first and only then the first of them begun, so many that
    /// come at once would all give up before that, and come again with the same megabytes.
    fn session(
        self: Arc<Self>,
        request: WatchStockRequest,
        store_id: Uuid,
        peer: Option<SocketAddr>,
    ) -> Result<Session, Error> {
        let request = WatchRequest::parse(request)?;
        let limit = self.config.targets_max;
        if request.targets.keys.len() > limit {
            let bound = WatchBound::Targets;
            return Err(Error::TooManyWatches { bound, limit });
        }
        let permit = self.permits.take(peer)?;
        Ok(Session::new(self, request, store_id, permit))
    }

    /// Does `work` on this many levels; if there are many, beside the callers' thread, and for
    /// one caller at a time: there are few cores, and commits want the same locks.
    async fn aside<T: Send + 'static>(
        &self,
        levels: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if levels <= LEVELS_AT_ONCE {
            return work();
        }
        // Nobody closes it.
        let turn = Arc::clone(&self.beginning).acquire_owned().await.ok();
        let work = spawn_blocking(move || {
            let _until_done = turn;
            work()
        });
        joined(work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::SeenLevel;
    use crate::samples::config_in;
    use crate::storage::Access;

    /// Of more levels than are taken in on the callers' thread.
    fn resume() -> WatchStockRequest {
        let seen = (0..=LEVELS_AT_ONCE).map(|number| SeenLevel {
            sku: format!("s-{number}"),
            version: 1,
            ..SeenLevel::default()
        });
        WatchStockRequest {
            seen: seen.collect(),
            ..WatchStockRequest::default()
        }
    }

    #[tokio::test]
    async fn of_large_resumes_each_begins_before_the_next_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder);
        let store = Store::open(&config.store, Access::Write).await.unwrap();
        store.migrate().await.unwrap();
        let (counters, gate) = (Arc::default(), Arc::new(Gate::default()));
        gate.open();
        let watching = Watching::new(&Feed::default(), &store, &config.watch, &counters, &gate);
        let watching = Arc::new(watching);
        // So that both are in the queue when they are looked at first.
        let store_id = store.store_id().await.unwrap();
        watching.store_id.set(store_id).unwrap();
        let turn = Arc::clone(&watching.beginning).acquire_owned().await;
        let mut wrong = resume();
        wrong.seen[LEVELS_AT_ONCE] = wrong.seen[0].clone();
        let second = async {
            let refused = watching.begin(wrong, None).await.err();
            let is_wrong = matches!(refused, Some(Error::InvalidRequest(_)));
            assert!(is_wrong, "{refused:?}");
            assert_eq!(counters.watches.streams.get(), 1, "the first has not begun");
        };
        let go = async {
            tokio::task::yield_now().await;
            drop(turn);
        };
        let (first, (), ()) = tokio::join!(watching.begin(resume(), None), second, go);
        assert!(first.is_ok());
    }
}
