//! PutProducts: products, and the levels that a changed threshold or limit touches.
//!
//! It goes through the engine because both are part of what a level shows: each
//! change is a movement with a version of its own. It is rare, so it takes a commit of
//! its own and no place in a batch.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::plan::{Events, plan_thresholds};
use super::{Committed, Context, Engine};
use crate::clock;
use crate::domain::{Product, Sku, StockLevel, Trace, Writes};
use crate::error::{Error, Owed};
use crate::storage::{Guard, StorageError, Verdict, WriteTx};

/// Changes of products that may wait for a lane. A PutProducts holds up to 1,000 of them, a
/// DeleteProduct one.
pub(super) const WAITING_MAX: usize = 32;

/// What PutProducts did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductsPut {
    /// Products that did not exist before.
    pub created: usize,
    /// Products that existed and now differ.
    pub updated: usize,
}

impl ProductsPut {
    /// What putting `products` does where `stored` are there, and which of them differ.
    pub(super) fn of<'p>(products: &'p [Product], stored: &[Product]) -> (Self, Vec<&'p Product>) {
        let stored: HashMap<&Sku, &Product> = stored.iter().map(|p| (&p.sku, p)).collect();
        let differs = |product: &&Product| stored.get(&product.sku) != Some(product);
        let changed: Vec<&Product> = products.iter().filter(differs).collect();
        let known = changed.iter().filter(|p| stored.contains_key(&p.sku));
        let updated = known.count();
        let put = Self {
            created: changed.len() - updated,
            updated,
        };
        (put, changed)
    }
}

impl Engine {
    /// Creates or replaces products, all of them or none.
    ///
    /// # Errors
    /// [`Error::BackordersRemain`], [`Error::StockContention`] and [`Error::Overloaded`]
    /// as for [`Engine::submit`], [`Error::StoreUnavailable`].
    pub async fn put_products(&self, products: Vec<Product>) -> Result<ProductsPut, Error> {
        let _place = self.place_of_products()?;
        let products: Arc<[Product]> = products.into();
        self.with_retries(|| self.attempt_products(&products)).await
    }

    /// The right to wait for a lane, until it is dropped.
    pub(super) fn place_of_products(&self) -> Result<SemaphorePermit<'_>, Error> {
        let place = self.products_waiting.try_acquire();
        place.map_err(|_| Error::Overloaded("too many changes of products are waiting"))
    }

    async fn attempt_products(&self, products: &Arc<[Product]>) -> Result<ProductsPut, Error> {
        let (context, products) = (Arc::clone(&self.context), Arc::clone(products));
        self.in_lane(async move { Box::pin(commit(&context, &products)).await })
            .await
    }

    /// Carries out a commit of its own, to the end even if the caller hangs up.
    pub(super) async fn in_lane<T: Send + 'static>(
        &self,
        commit: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let lane = Arc::clone(&self.context.lanes)
            .acquire_owned()
            .await
            .map_err(|_| Error::Draining)?;
        let commit = async move {
            let done = commit.await;
            drop(lane);
            done
        };
        let task = self.context.tasks.spawn_on(commit, &self.context.runtime);
        // A panic: what it did is not known.
        task.await.unwrap_or(Err(Error::StoreUnavailable(None)))
    }
}

async fn commit(context: &Context, products: &[Product]) -> Result<ProductsPut, Error> {
    let skus: Vec<&Sku> = products.iter().map(|product| &product.sku).collect();
    let stored = context.store.find_products(&skus).await?;
    let (put, changed) = ProductsPut::of(products, &stored);
    // As a repeat is: nothing is locked for it, and nothing flushed.
    if changed.is_empty() {
        return Ok(put);
    }
    let done = context
        .store
        .transaction(
            async |tx| match write(tx, products, context.events).await? {
                Ok(written) => Ok(Verdict::Commit(Ok(written))),
                Err(refused) => Ok(Verdict::Leave(Err(refused))),
            },
        )
        .await;
    if let Err(StorageError::Conflict { levels }) = &done {
        context.memory.forget();
        context.conflicted(levels);
    }
    let (put, writes) = done??;
    if !writes.levels.is_empty() {
        context.memory.remember(&writes);
        let levels: Vec<StockLevel> = writes.levels.into_iter().map(|w| w.level).collect();
        (context.on_commit)(Committed::Changed(&levels));
    }
    Ok(put)
}

async fn write(
    tx: &mut WriteTx,
    products: &[Product],
    events: Events,
) -> Result<Result<(ProductsPut, Writes), Error>, StorageError> {
    let asked: Vec<&Product> = products.iter().collect();
    let stored = tx.stored_products(&asked).await?;
    let (put, changed) = ProductsPut::of(products, &stored);
    if changed.is_empty() {
        return Ok(Ok((put, Writes::default())));
    }
    tx.upsert_products(&changed).await?;
    // Read after the products are locked, so that no level can be missed.
    let levels = tx.levels_unlike(&changed).await?;
    if let Err(refused) = require_limits(&levels, &changed) {
        return Ok(Err(refused));
    }
    let trace = Trace::of_id(*Uuid::now_v7().as_bytes());
    let writes = plan_thresholds(levels, &changed, clock::now(), trace, events);
    if !writes.levels.is_empty() {
        tx.write(&writes, Guard::ByVersion).await?;
        // Their rows are locked by now, in their order, and nobody has taken from them.
        tx.follow_products(&changed).await?;
    }
    Ok(Ok((put, writes)))
}

/// No level may have more units on backorder than the product will allow.
pub(super) fn require_limits(levels: &[StockLevel], products: &[&Product]) -> Result<(), Error> {
    let limits = products.iter().map(|p| (&p.sku, p.backorder_limit));
    let limits: HashMap<&Sku, i64> = limits.collect();
    let beyond = levels.iter().filter_map(|level| {
        let backorder_limit = *limits.get(&level.key.sku)?;
        (level.available() < -backorder_limit).then(|| Owed {
            key: level.key.clone(),
            available: level.available(),
            backorder_limit,
        })
    });
    let beyond: Vec<Owed> = beyond.collect();
    if beyond.is_empty() {
        Ok(())
    } else {
        Err(Error::BackordersRemain(beyond))
    }
}
