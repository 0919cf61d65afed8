//! The gRPC edge: requests in, answers and watch streams out.
//!
//! Owns validation (a request that gets past `convert` fits every bound), the
//! one mapping from errors to status codes, and the life of a watch stream.
//! Decides nothing about stock.

mod adjustments;
mod convert;
mod get_order;
mod layers;
mod mask;
mod movements;
mod order_changes;
mod order_list;
mod orders;
mod page;
mod products;
#[cfg(test)]
mod service_config;
mod status;
mod stock;
mod stock_list;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use layers::DeadlineLayer;
pub(crate) use orders::Orders;
pub(crate) use stock::Inventory;
pub(crate) use watch::{InventoryServer, Watching};

use crate::error::Error;
use crate::telemetry::Outcomes;

/// Whether this instance takes requests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Set once the schema is one that this program knows.
    migrated: AtomicBool,
    /// Cancelled when the instance begins to shut down, or to begin anew.
    pub(crate) draining: CancellationToken,
    /// Set before that when the store is another one.
    store_left: AtomicBool,
}

impl Gate {
    /// Lets requests in.
    pub(crate) fn open(&self) {
        self.migrated.store(true, Ordering::Release);
    }

    /// Whether requests have been let in, drain or not.
    pub(crate) fn is_open(&self) -> bool {
        self.migrated.load(Ordering::Acquire)
    }

    /// Ends what is served because the store is another one: who watches is told so.
    pub(crate) fn leave_store(&self) {
        self.store_left.store(true, Ordering::Release);
        self.draining.cancel();
    }

    /// Whether it is drained for that.
    fn has_left_store(&self) -> bool {
        self.store_left.load(Ordering::Acquire)
    }

    fn pass(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() {
            Err(Error::Draining)
        } else if self.is_open() {
            Ok(())
        } else {
            Err(Error::StoreUnavailable(None))
        }
    }
}

/// Makes the status of an error that a write of one kind is answered with, and
/// counts it. Here and not in the engine, which a bad request never reaches.
fn turn_down(outcomes: &Outcomes) -> impl Fn(Error) -> Status + Copy {
    |error| {
        outcomes.turned_down(&error);
        error.into()
    }
}
