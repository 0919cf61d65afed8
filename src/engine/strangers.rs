//! Orders whose levels are not remembered: read while a commit is under way.
//!
//! Without this the first order for a level would take its whole batch through a load
//! before its commit, and a store of many levels would plan nothing ahead. What is read
//! here is only remembered. The guards prove it, and a refusal is not answered from it.

use std::mem;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Context;
use super::command::ascending;
use super::queue::Queued;

/// Orders that wait for the levels they name. One read at a time.
#[derive(Default)]
pub(super) struct Strangers {
    /// Whose levels the next read takes.
    next: Vec<Queued>,
    /// The read under way, and for whom it is.
    reading: Option<JoinHandle<Vec<Queued>>>,
}

impl Strangers {
    pub(super) fn add(&mut self, queued: Queued) {
        self.next.push(queued);
    }

    /// Whether there is something to wait for.
    pub(super) fn are_being_read(&self) -> bool {
        self.reading.is_some()
    }

    /// Begins to read, unless a read is under way or nobody needs one.
    pub(super) fn read(&mut self, context: &Arc<Context>) {
        if self.reading.is_some() || self.next.is_empty() {
            return;
        }
        let mut orders = mem::take(&mut self.next);
        let context = Arc::clone(context);
        let tasks = context.tasks.clone();
        self.reading = Some(tasks.spawn(async move {
            let keys = ascending(orders.iter().flat_map(Queued::keys));
            // A failure is for the load to report that follows when nothing was learned.
            if let Ok(levels) = context.store.load_levels(&keys).await {
                context.memory.learn(levels);
            }
            for queued in &mut orders {
                queued.read = true;
            }
            orders
        }));
    }

    /// Waits for the read under way and returns those it was for. May be dropped
    /// while it waits; not to be called when there is none.
    pub(super) async fn known(&mut self) -> Vec<Queued> {
        let Some(reading) = &mut self.reading else {
            return Vec::new();
        };
        // A panic: the callers learn that nothing is known.
        let orders = reading.await.unwrap_or_default();
        self.reading = None;
        orders
    }

    /// Everybody, once the read under way has ended.
    pub(super) async fn leave(&mut self) -> Vec<Queued> {
        let mut orders = self.known().await;
        orders.append(&mut self.next);
        orders
    }

    /// Those for whom no read has begun.
    pub(super) fn take(&mut self) -> Vec<Queued> {
        mem::take(&mut self.next)
    }
}
