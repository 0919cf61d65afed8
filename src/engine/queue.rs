//! The bound on what waits: in orders, and in lines because orders differ.
//!
//! A command takes its room when it is submitted and gives it back when it is
//! answered, wherever in the engine it waits meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Done, Prepared};
use crate::config::EngineConfig;
use crate::domain::LevelKey;
use crate::error::Error;

/// A command that waits to be carried out, and the way its answer goes.
pub(super) struct Queued {
    pub(super) prepared: Arc<Prepared>,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
    /// When it began to wait.
    pub(super) since: Instant,
    /// It met a conflict: before it is planned again, its levels and its request are
    /// read. The next conflict sends it back to its caller's backoff.
    pub(super) conflicted: bool,
    _room: Room,
}

impl Queued {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        reply: oneshot::Sender<Result<Done, Error>>,
        room: Room,
    ) -> Self {
        Self {
            prepared,
            reply,
            since: Instant::now(),
            conflicted: false,
            _room: room,
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &LevelKey> {
        self.prepared.command.keys()
    }

    pub(super) fn lines(&self) -> usize {
        self.prepared.command.lines()
    }

    /// Whether nobody waits for the answer any more: the caller hung up, or its
    /// deadline has passed. Asked before planning, never after a commit.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers. A caller that hung up learns the outcome when it sends its request_id again.
    pub(super) fn answer(self, outcome: Result<Done, Error>) {
        let _ = self.reply.send(outcome);
    }
}

/// How much waits.
#[derive(Debug, Default)]
pub(super) struct Bound {
    orders: AtomicUsize,
    lines: AtomicUsize,
}

/// A share of the bound.
pub(super) struct Room {
    bound: Arc<Bound>,
    lines: usize,
}

impl Bound {
    /// Takes room for a command of so many lines.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there is none.
    pub(super) fn claim(
        self: &Arc<Self>,
        lines: usize,
        config: &EngineConfig,
    ) -> Result<Room, Error> {
        // From here on its drop gives back what was taken.
        let room = Room {
            bound: Arc::clone(self),
            lines,
        };
        let orders_before = self.orders.fetch_add(1, Ordering::Relaxed);
        let lines_before = self.lines.fetch_add(lines, Ordering::Relaxed);
        if orders_before >= config.queue_orders_max {
            return Err(Error::Overloaded("the queue of orders is full"));
        }
        if lines_before + lines > config.queue_lines_max {
            return Err(Error::Overloaded("the queue of order lines is full"));
        }
        Ok(room)
    }

    /// Commands that are not answered yet.
    pub(super) fn orders(&self) -> usize {
        self.orders.load(Ordering::Relaxed)
    }

    /// Their lines.
    pub(super) fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bound.orders.fetch_sub(1, Ordering::Relaxed);
        self.bound.lines.fetch_sub(self.lines, Ordering::Relaxed);
    }
}
