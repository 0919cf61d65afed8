//! What a command would be answered with, had it been sent in earnest.
//!
//! Plans it on levels that are read now, by the readers' connections, and throws the
//! writes away: it takes no place in the queue and no lock, and stands in no order's way.
//! Another caller may be faster, so an answer promises nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::{Events, Planner};
use super::products::ProductsPut;
use super::{Command, Done, Engine, Prepared};
use crate::clock;
use crate::domain::{LevelKey, Product};
use crate::error::Error;

impl Engine {
    /// What [`Engine::submit`] would answer now; writes nothing. A request that has been
    /// answered is answered as its repeat.
    ///
    /// # Errors
    /// Whatever speaks against the command, [`Error::StoreUnavailable`].
    pub async fn validate(&self, command: Command) -> Result<Done, Error> {
        let prepared = Prepared::from(command);
        let store = &self.context.store;
        let keys: BTreeSet<&LevelKey> = prepared.command.keys().collect();
        let keys: Vec<LevelKey> = keys.into_iter().cloned().collect();
        let mut planner = Planner::new(clock::now(), Arc::default(), Events::Off);
        for level in store.read_levels(&keys).await? {
            planner.know(level);
        }
        // After the levels: what was committed between the reads is found here, and is a
        // repeat, whatever it has left of them.
        let stored = store
            .read_requests(&[prepared.command.request_id()])
            .await?;
        planner.know_requests(stored);
        planner.command(&prepared)
    }

    /// What [`Engine::put_products`] would answer now; writes nothing.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`].
    pub async fn validate_products(&self, products: &[Product]) -> Result<ProductsPut, Error> {
        let asked: Vec<_> = products.iter().map(|product| &product.sku).collect();
        let stored = self.context.store.find_products(&asked).await?;
        let (put, _) = ProductsPut::of(products, &stored);
        Ok(put)
    }
}
