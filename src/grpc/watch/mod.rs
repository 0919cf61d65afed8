//! WatchStock: the life of one stream.
//!
//! A stream is pulled by its connection: nothing is produced while the reader
//! does not read, and changes meanwhile are folded in the feed's mailbox. The
//! watch on the feed begins before the snapshot is read, so nothing falls
//! between the two; versions decide what is new.

mod request;
mod session;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::OnceCell;
use tonic::Status;
use uuid::Uuid;

use self::request::WatchRequest;
use self::session::Session;
use super::Gate;
use crate::config::WatchConfig;
use crate::error::Error;
use crate::feed::Feed;
use crate::proto::{WatchStockRequest, WatchStockResponse};
use crate::storage::Store;
use crate::telemetry::Counters;

/// The answers of one watch.
pub(crate) type WatchStream =
    Pin<Box<dyn Stream<Item = Result<WatchStockResponse, Status>> + Send>>;

/// What every watch needs.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(crate) feed: Feed,
    pub(crate) store: Store,
    pub(crate) config: WatchConfig,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
    /// Read once: a server does not outlive its store.
    pub(crate) store_id: Arc<OnceCell<Uuid>>,
}

impl Watching {
    /// Begins a watch.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::TooManyWatches`], [`Error::StoreUnavailable`].
    pub(super) async fn begin(&self, request: WatchStockRequest) -> Result<WatchStream, Error> {
        let request = WatchRequest::parse(request)?;
        let store_id = *self
            .store_id
            .get_or_try_init(|| self.store.store_id())
            .await?;
        let watch = self.feed.watch(request.targets.clone())?;
        if !request.seen.is_empty() {
            self.counters.watches.resumes.add(1);
        }
        let session = Session::new(self.clone(), request, watch, store_id);
        Ok(Box::pin(stream::unfold(session, |mut session| async {
            let item = session.next().await?;
            Some((item, session))
        })))
    }
}
