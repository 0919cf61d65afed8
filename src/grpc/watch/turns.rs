//! Whose turn it is to read the store for a stream.
//!
//! Ten thousand streams may begin at once, after a restart. Without turns each would
//! wait for one of a few connections, and the calls of others with them, until most of
//! them had waited too long. Here they queue, as many as there are streams.

use std::panic::resume_unwind;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// Reads for streams under way at a time. Clones share the turns.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Pages of snapshots, and as many of the ledger: half of the connections that
    /// reads have by default are left to calls.
    const READS_MAX: usize = 2;

    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(Self::READS_MAX)))
    }

    /// As many on each of some replicas, if there are any.
    pub(super) fn on_replicas(count: usize) -> Option<Self> {
        (count > 0).then(|| Self(Arc::new(Semaphore::new(count * Self::READS_MAX))))
    }

    /// Waits for a turn, which ends when what is returned is dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes it.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Reads to the end, whoever asks for it meanwhile. The transport asks a stream for nothing
/// while its reader has no room, and a read that stood still with it would keep its turn,
/// and its connection to the store, from everybody else for as long.
pub(super) fn unattended<T: Send + 'static>(
    read: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    joined(AbortOnDropHandle::new(tokio::spawn(read))).boxed()
}

/// What a task made; a panic of it goes on here.
pub(super) async fn joined<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    task.await
        .unwrap_or_else(|it| resume_unwind(it.into_panic()))
}
