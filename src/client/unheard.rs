//! Levels that a resume had no room for, and that the stream did not send: what became of them.
//!
//! A snapshot has what there is. What is gone, a product that was deleted or a level that
//! is no longer low, it has for those alone who name it; so does a level that fell back with
//! the store. They are named on streams of their own, one after the other, each of which
//! ends when it is synced. Meanwhile the stream of the watch waits.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use super::ClientError;
use super::proto::inventory_service_client::InventoryServiceClient;
use super::proto::watch_stock_response::Event;
use super::proto::{SeenLevel, WatchChanges, WatchStockRequest};
use crate::error::Reason;

/// Levels named at a time: with the longest names they fit into the smallest request that
/// a server can be told to take, 64 KiB.
const NAMED_MAX: usize = 400;

/// How long one of these streams may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of such levels, as it comes.
pub(super) struct Unheard(BoxStream<'static, Result<WatchChanges, ClientError>>);

impl fmt::Debug for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unheard").finish_non_exhaustive()
    }
}

impl Unheard {
    /// Asks of levels of this store.
    pub(super) fn ask(
        inventory: &InventoryServiceClient<Channel>,
        store_id: &str,
        levels: &[SeenLevel],
    ) -> Self {
        let requests = levels.chunks(NAMED_MAX).map(|seen| WatchStockRequest {
            seen: seen.to_vec(),
            store_id: store_id.to_owned(),
            ..WatchStockRequest::default()
        });
        let inventory = inventory.clone();
        let answers = stream::iter(requests.collect::<Vec<_>>())
            .then(move |request| answer(inventory.clone(), request))
            .map_ok(|told| stream::iter(told.into_iter().map(Ok)))
            .try_flatten();
        Self(answers.boxed())
    }

    /// The next levels of which there is news; none when all is known. May be dropped while
    /// it waits; nothing is lost.
    ///
    /// # Errors
    /// Those of the way to the server, or it ended a stream.
    pub(super) async fn next(&mut self) -> Option<Result<WatchChanges, ClientError>> {
        self.0.next().await
    }
}

async fn answer(
    inventory: InventoryServiceClient<Channel>,
    request: WatchStockRequest,
) -> Result<Vec<WatchChanges>, ClientError> {
    let mut told = Vec::new();
    let mut requests = vec![request];
    while let Some(request) = requests.pop() {
        let answer = timeout(ANSWER_TIMEOUT, snapshot(inventory.clone(), request.clone())).await;
        match answer {
            Ok(Ok(changes)) => told.extend(changes),
            // So many on one stream are more than the server takes.
            Ok(Err(error)) if !error.retryable() && request.seen.len() > 1 => {
                requests.extend(halves(request));
            }
            // There is no room for another stream. The stream that there is shall not end for
            // that: they are asked for again when it is resumed.
            Ok(Err(error)) if error.has_reason(Reason::TooManyWatches) || !error.retryable() => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let silence = format!("no snapshot within {ANSWER_TIMEOUT:?}");
                return Err(ClientError::local(Code::DeadlineExceeded, silence));
            }
        }
    }
    Ok(told)
}

fn halves(mut request: WatchStockRequest) -> [WatchStockRequest; 2] {
    let half = request.seen.split_off(request.seen.len() / 2);
    let other = WatchStockRequest {
        seen: half,
        ..request.clone()
    };
    [request, other]
}

/// What a stream begins with.
async fn snapshot(
    mut inventory: InventoryServiceClient<Channel>,
    request: WatchStockRequest,
) -> Result<Vec<WatchChanges>, ClientError> {
    let store_id = request.store_id.clone();
    let ended = |why| Err(ClientError::local(Code::Unavailable, why));
    let mut stream = inventory.watch_stock(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::Started(started)) if started.store_id != store_id => {
                return ended("another store answers");
            }
            Some(Event::Changes(changes)) => told.push(changes),
            Some(Event::Synced(_)) => return Ok(told),
            _ => {}
        }
    }
    ended("the stream ended without a status")
}
