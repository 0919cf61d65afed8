//! A watcher that trusts nothing: it reads the raw stream and checks its form.

use std::collections::HashMap;

use stockroom::client::proto::stock_selector::Selector;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{
    AllLevels, GoodbyeReason, SeenLevel, StockKey, StockLevel, StockSelector, WatchStarted,
    WatchStockRequest, WatchStockResponse,
};
use tonic::{Status, Streaming};

use crate::fixture::{DEADLINE, Stockroom, in_time};

/// Selects every level.
pub(crate) fn everything() -> StockSelector {
    StockSelector {
        selector: Some(Selector::All(AllLevels {})),
    }
}

/// Selects one level at `main`.
pub(crate) fn level_of(sku: &str) -> StockSelector {
    let key = StockKey {
        sku: sku.to_owned(),
        ..StockKey::default()
    };
    StockSelector {
        selector: Some(Selector::Level(key)),
    }
}

/// A level at `main` and a version of it.
pub(crate) fn seen(sku: &str, version: i64) -> SeenLevel {
    SeenLevel {
        sku: sku.to_owned(),
        version,
        ..SeenLevel::default()
    }
}

/// A watch of the selected levels by somebody new.
pub(crate) fn watch_of(selectors: Vec<StockSelector>) -> WatchStockRequest {
    WatchStockRequest {
        selectors,
        ..WatchStockRequest::default()
    }
}

/// One stream, and the last value of each level that came on it.
pub(crate) struct Watcher {
    stream: Streaming<WatchStockResponse>,
    pub(crate) started: WatchStarted,
    /// By (SKU, location).
    pub(crate) latest: HashMap<(String, String), StockLevel>,
    /// Levels that came with `reset`.
    pub(crate) resets: usize,
}

impl Watcher {
    /// Opens a stream, whose first message must be Started.
    pub(crate) async fn open(server: &Stockroom, request: WatchStockRequest) -> Self {
        Self::try_open(server, request).await.unwrap()
    }

    pub(crate) async fn try_open(
        server: &Stockroom,
        request: WatchStockRequest,
    ) -> Result<Self, Status> {
        let mut stream = server.inventory().watch_stock(request).await?.into_inner();
        let first = in_time("a stream begins", stream.message()).await?;
        let first = first.and_then(|message| message.event);
        let Some(Event::Started(started)) = first else {
            panic!("a stream begins with Started, not {first:?}");
        };
        assert!(!started.store_id.is_empty());
        let (latest, resets) = (HashMap::new(), 0);
        Ok(Self {
            stream,
            started,
            latest,
            resets,
        })
    }

    /// Opens a stream and reads its snapshot.
    pub(crate) async fn synced(server: &Stockroom, request: WatchStockRequest) -> Self {
        let mut watcher = Self::open(server, request).await;
        watcher.sync().await;
        watcher
    }

    /// Reads up to Synced.
    pub(crate) async fn sync(&mut self) {
        let reading = async {
            loop {
                match self.next().await {
                    Event::Changes(_) | Event::Heartbeat(_) => {}
                    Event::Synced(synced) => return assert!(synced.server_time.is_some()),
                    other => panic!("the snapshot is changes and Synced, not {other:?}"),
                }
            }
        };
        in_time("the snapshot is complete", reading).await;
    }

    /// The next message; the stream must not end.
    pub(crate) async fn next(&mut self) -> Event {
        self.try_next().await.unwrap()
    }

    /// The next message or the status that ends the stream, within the deadline.
    pub(crate) async fn try_next(&mut self) -> Result<Event, Status> {
        let message = tokio::time::timeout(DEADLINE, self.stream.message()).await;
        let message = message.expect("a message comes, if only a heartbeat")?;
        let event = message.expect("a watch never ends with OK").event.unwrap();
        if let Event::Changes(changes) = &event {
            assert!((1..=1_000).contains(&changes.levels.len()));
            for level in &changes.levels {
                self.take(level, changes.reset);
            }
        }
        Ok(event)
    }

    fn take(&mut self, level: &StockLevel, reset: bool) {
        assert_eq!(level.available, level.on_hand - level.reserved);
        let key = (level.sku.clone(), level.location.clone());
        let before = self.latest.insert(key, level.clone());
        if reset {
            self.resets += 1;
        } else if let Some(before) = before {
            assert!(
                level.version > before.version,
                "{level:?} came after {before:?}"
            );
        }
    }

    /// The last value of a level at `main`.
    pub(crate) fn level(&self, sku: &str) -> Option<&StockLevel> {
        self.latest.get(&(sku.to_owned(), "main".to_owned()))
    }

    /// The last versions seen, in byte order of the SKUs.
    pub(crate) fn versions(&self) -> Vec<(&str, i64)> {
        let mut versions: Vec<_> = self
            .latest
            .values()
            .map(|level| (level.sku.as_str(), level.version))
            .collect();
        versions.sort_unstable();
        versions
    }

    /// What to resume with.
    pub(crate) fn seen(&self) -> Vec<SeenLevel> {
        let seen = |level: &StockLevel| SeenLevel {
            sku: level.sku.clone(),
            location: level.location.clone(),
            version: level.version,
        };
        self.latest.values().map(seen).collect()
    }

    /// Reads until a level at `main` has a version or a later one.
    pub(crate) async fn until(&mut self, sku: &str, version: i64) -> StockLevel {
        let reading = async {
            loop {
                match self.level(sku) {
                    Some(level) if level.version >= version => return level.clone(),
                    _ => self.next().await,
                };
            }
        };
        in_time(&format!("version {version} of {sku} comes"), reading).await
    }

    /// Reads up to Goodbye, and then the status that must follow it.
    pub(crate) async fn until_goodbye(&mut self) -> (GoodbyeReason, Status) {
        let reading = async {
            loop {
                if let Event::Goodbye(goodbye) = self.next().await {
                    assert!(goodbye.reconnect_after.is_some());
                    let status = self.try_next().await.unwrap_err();
                    return (goodbye.reason(), status);
                }
            }
        };
        in_time("the server says Goodbye", reading).await
    }
}
