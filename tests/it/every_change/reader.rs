//! A reader that takes no version but the next one.

use std::collections::HashMap;

use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{
    GoodbyeReason, SeenLevel, StockLevel, WatchStockRequest, WatchStockResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::fixture::{DEADLINE, in_time};
use crate::watching::seen;

/// Reads a stream and fails unless each version follows the one before it.
pub(super) struct Reader {
    stream: Streaming<WatchStockResponse>,
    pub(super) store_id: String,
    /// What came of each SKU, in its order.
    pub(super) came: HashMap<String, Vec<StockLevel>>,
    /// The last version of each SKU, from what was seen on.
    pub(super) last: HashMap<String, i64>,
    pub(super) is_synced: bool,
    pub(super) resets: usize,
    pub(super) messages: usize,
}

impl Reader {
    pub(super) async fn open(channel: &Channel, request: WatchStockRequest) -> Self {
        let last = request.seen.iter();
        let last = last.map(|it| (it.sku.clone(), it.version)).collect();
        let mut client = InventoryServiceClient::new(channel.clone());
        let mut stream = client.watch_stock(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().event;
        let Some(Event::Started(started)) = first else {
            panic!("a stream begins with Started, not {first:?}");
        };
        Self {
            stream,
            store_id: started.store_id,
            came: HashMap::new(),
            last,
            is_synced: false,
            resets: 0,
            messages: 0,
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        let message = tokio::time::timeout(DEADLINE, self.stream.message()).await;
        let message = message.expect("a message comes, if only a heartbeat");
        let event = message.unwrap().unwrap().event.unwrap();
        match &event {
            Event::Changes(changes) => {
                self.messages += 1;
                assert!((1..=1_000).contains(&changes.levels.len()));
                for level in &changes.levels {
                    self.take(level, changes.reset);
                }
            }
            Event::Synced(_) => {
                assert!(!self.is_synced, "once");
                self.is_synced = true;
            }
            _ => {}
        }
        event
    }

    fn take(&mut self, level: &StockLevel, reset: bool) {
        let last = self.last.insert(level.sku.clone(), level.version);
        if reset {
            self.resets += 1;
        } else if let Some(last) = last {
            assert_eq!(level.version, last + 1, "{level:?}");
        }
        let came = self.came.entry(level.sku.clone()).or_default();
        came.push(level.clone());
    }

    pub(super) async fn sync(&mut self) {
        let reading = async {
            while !self.is_synced {
                self.next().await;
            }
        };
        in_time("the replay is complete", reading).await;
    }

    pub(super) async fn until(&mut self, sku: &str, version: i64) {
        let reading = async {
            while self.last.get(sku).is_none_or(|last| *last < version) {
                self.next().await;
            }
        };
        in_time(&format!("version {version} of {sku} comes"), reading).await;
    }

    pub(super) async fn until_goodbye(&mut self) -> GoodbyeReason {
        let reading = async {
            loop {
                if let Event::Goodbye(goodbye) = self.next().await {
                    let status = self.stream.message().await.unwrap_err();
                    assert_eq!(status.code(), Code::Unavailable);
                    return goodbye.reason();
                }
            }
        };
        in_time("the server says Goodbye", reading).await
    }

    /// Takes what has been sent already by a server that is gone.
    pub(super) async fn drain(&mut self) {
        while let Ok(Some(message)) = self.stream.message().await {
            if let Some(Event::Changes(changes)) = message.event {
                let levels = changes.levels.iter();
                levels.for_each(|level| self.take(level, changes.reset));
            }
        }
    }

    /// The versions of a SKU that came.
    pub(super) fn history(&self, sku: &str) -> Vec<i64> {
        let came = self.came.get(sku).into_iter().flatten();
        came.map(|level| level.version).collect()
    }

    /// What to resume with.
    pub(super) fn seen(&self) -> Vec<SeenLevel> {
        let last = self.last.iter();
        last.map(|(sku, version)| seen(sku, *version)).collect()
    }
}
