//! DeleteProduct: a product without stock goes, and the versions of its levels stay.
//!
//! Each level gets a movement DELETED, so that whoever remembers or watches it learns of
//! it, and keeps its row: should the SKU be put again, its levels go on from there. It is
//! rare, so it takes a commit of its own, as PutProducts does.

use std::sync::Arc;

use uuid::Uuid;

use super::plan::plan_deletion;
use super::{Committed, Context, Engine};
use crate::clock;
use crate::domain::{Sku, StockLevel, Trace};
use crate::error::Error;
use crate::storage::{Guard, StorageError, Verdict};

impl Engine {
    /// Deletes a product that has no stock.
    ///
    /// # Errors
    /// [`Error::SkuNotFound`], [`Error::StockRemains`], and those of
    /// [`Engine::put_products`].
    pub async fn delete_product(&self, sku: &Sku) -> Result<(), Error> {
        let _place = self.place_of_products()?;
        self.with_retries(|| self.attempt_deletion(sku)).await
    }

    /// What [`Engine::delete_product`] would answer now; writes nothing.
    ///
    /// # Errors
    /// Those of [`Engine::delete_product`].
    pub async fn validate_deletion(&self, sku: &Sku) -> Result<(), Error> {
        let store = &self.context.store;
        if store.find_product(sku).await?.is_none() {
            return Err(Error::SkuNotFound(vec![sku.clone()]));
        }
        require_empty(&store.levels_of(sku).await?)
    }

    async fn attempt_deletion(&self, sku: &Sku) -> Result<(), Error> {
        let (context, sku) = (Arc::clone(&self.context), sku.clone());
        self.in_lane(async move { Box::pin(commit(&context, &sku)).await })
            .await
    }
}

async fn commit(context: &Context, sku: &Sku) -> Result<(), Error> {
    let done = context
        .store
        .transaction(async |tx| {
            // Before its levels, as PutProducts: from here on it gets no new one.
            if !tx.lock_product(sku).await? {
                return Ok(Verdict::Leave(Err(Error::SkuNotFound(vec![sku.clone()]))));
            }
            let levels = tx.lock_levels_of(sku).await?;
            if let Err(standing) = require_empty(&levels) {
                return Ok(Verdict::Leave(Err(standing)));
            }
            let trace = Trace::of_id(*Uuid::now_v7().as_bytes());
            let writes = plan_deletion(levels, clock::now(), trace, context.events);
            if !writes.levels.is_empty() {
                tx.write(&writes, Guard::ByVersion).await?;
            }
            tx.delete_product(sku).await?;
            Ok(Verdict::Commit(Ok(writes)))
        })
        .await;
    // Whatever became of it: that the SKU is known is remembered with its levels.
    context.memory.forget();
    if let Err(StorageError::Conflict { levels }) = &done {
        context.conflicted(levels);
    }
    let levels = done??.levels.into_iter().map(|write| write.level);
    let levels: Vec<StockLevel> = levels.collect();
    if !levels.is_empty() {
        (context.on_commit)(Committed::Deleted(&levels));
    }
    Ok(())
}

fn require_empty(levels: &[StockLevel]) -> Result<(), Error> {
    let full = |level: &&StockLevel| (level.on_hand, level.reserved) != (0, 0);
    let full: Vec<StockLevel> = levels.iter().filter(full).cloned().collect();
    if full.is_empty() {
        Ok(())
    } else {
        Err(Error::StockRemains(full))
    }
}
