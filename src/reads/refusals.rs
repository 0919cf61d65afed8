//! Refusing orders on cached levels: `cache.fast_refusal`, for floods after a sell-out.
//!
//! Promises never to accept an order, and never to refuse the repeat of one that was
//! made. A level is looked up before its request is: a commit is in the database before
//! the cache can know of it, so whoever repeats the order that emptied the shelf is
//! found there and left to the engine. A refusal is as old as the cached level that it
//! stands on; a restock ends it with the write that follows its commit.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::cache::Cache;
use crate::domain::{LevelKey, NewOrder, RequestId, StockLevel};
use crate::error::{Error, Shortfall};
use crate::gather::Gather;
use crate::storage::Store;
use crate::tasks::Tasks;

/// Requests that are looked up together, in one statement of as many index look-ups.
const REQUESTS_AT_ONCE_MAX: usize = 512;

/// Looks up requests until it is dropped.
#[derive(Clone)]
pub(super) struct Refusals {
    cache: Cache,
    /// Whether a request is known never to have been answered.
    questions: Arc<Gather<RequestId, bool>>,
    _asking: Arc<AbortOnDropHandle<()>>,
}

impl Refusals {
    pub(super) fn start(store: Store, cache: Cache, tasks: &Tasks) -> Self {
        let questions = Arc::default();
        let asking = ask_forever(store, Arc::clone(&questions));
        let asking = tasks.start("the reader of requests", asking);
        Self {
            cache,
            questions,
            _asking: Arc::new(asking),
        }
    }

    /// Why an order is refused; none where the engine shall decide.
    pub(super) async fn refuse(&self, new: &NewOrder) -> Option<Error> {
        let mut wanted = BTreeMap::<&LevelKey, i64>::new();
        for line in &new.lines {
            *wanted.entry(&line.key).or_default() += line.quantity.units();
        }
        let keys = wanted.keys().map(|key| (*key).clone()).collect();
        let found = self.cache.find(keys).await?;
        // All of them: one that is not cached might be short too, and every shortfall is told.
        let levels: Vec<StockLevel> = found.into_iter().collect::<Option<_>>()?;
        let short: Vec<Shortfall> = levels
            .into_iter()
            .zip(wanted.into_values())
            // Of what is reserved, holds that are over may give some back.
            .filter(|(level, units)| level.on_hand + level.backorder_limit < *units)
            .map(|(level, requested)| Shortfall {
                available: level.available(),
                backorder_limit: level.backorder_limit,
                key: level.key,
                requested,
            })
            .collect();
        if short.is_empty() || !self.questions.ask(new.request_id.clone()).await? {
            return None;
        }
        self.cache.counters().refusals.add(1);
        Some(Error::InsufficientStock(short))
    }
}

/// Looks up whatever was asked while the last requests were.
async fn ask_forever(store: Store, questions: Arc<Gather<RequestId, bool>>) {
    loop {
        let (requests, replies) = questions.next(REQUESTS_AT_ONCE_MAX, |_| 1).await;
        let answered: Option<HashSet<String>> = store.answered_of(&requests).await.ok();
        for (request, reply) in requests.iter().zip(replies) {
            let is_new = answered
                .as_ref()
                .is_some_and(|answered| !answered.contains(request.as_str()));
            // One that hung up needs no answer.
            let _ = reply.send(is_new);
        }
    }
}
