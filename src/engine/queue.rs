//! The bound on what waits: in orders, and in lines because orders differ.
//!
//! A command takes its room when it is submitted and gives it back when it is
//! answered, wherever in the engine it waits meanwhile.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Command, Done, Prepared};
use crate::config::EngineConfig;
use crate::domain::{LevelKey, Order, Timestamp};
use crate::error::Error;
use crate::telemetry::{self, Held};

/// A command that waits to be carried out, and the way its answer goes.
pub(super) struct Queued {
    pub(super) prepared: Arc<Prepared>,
    /// None for what the engine does by itself.
    reply: Option<oneshot::Sender<Result<Done, Error>>>,
    /// When it began to wait.
    pub(super) since: Instant,
    /// It met a conflict: before it is planned again, its levels and its request are
    /// read. The next conflict sends it back to its caller's backoff.
    pub(super) conflicted: bool,
    /// Its levels have been read on its account.
    pub(super) read: bool,
    /// Holds that it needed could not be ended: it is refused if it is short again.
    pub(super) short_is_final: bool,
    /// When it was planned for commits that nobody heard the end of.
    pub(super) unheard: Vec<Timestamp>,
    _room: Option<Room>,
}

impl Queued {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        reply: oneshot::Sender<Result<Done, Error>>,
        room: Room,
    ) -> Self {
        Self::begin(prepared, Some(reply), Some(room))
    }

    /// What the engine does by itself, beside the commands that need it.
    pub(super) fn of_engine(command: Command) -> Self {
        Self::begin(Arc::new(command.into()), None, None)
    }

    fn begin(
        prepared: Arc<Prepared>,
        reply: Option<oneshot::Sender<Result<Done, Error>>>,
        room: Option<Room>,
    ) -> Self {
        Self {
            prepared,
            since: Instant::now(),
            conflicted: false,
            // What the engine does by itself follows from a read.
            read: reply.is_none(),
            reply,
            short_is_final: false,
            unheard: Vec::new(),
            _room: room,
        }
    }

    pub(super) fn is_of_engine(&self) -> bool {
        self.reply.is_none()
    }

    /// The order that it changes, as it was when it was queued.
    pub(super) fn order(&self) -> Option<&Arc<Order>> {
        self.prepared.command.order()
    }

    /// Whether nobody would hear the answer.
    pub(super) fn is_unheard(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &LevelKey> {
        self.prepared.command.keys()
    }

    pub(super) fn lines(&self) -> usize {
        self.prepared.command.lines()
    }

    /// Whether nobody waits for the answer any more: the caller hung up, or its
    /// deadline has passed. Asked before planning, never after a commit.
    pub(super) fn is_abandoned(&self, counted: &telemetry::Queue) -> bool {
        let abandoned = self.is_unheard();
        if abandoned {
            counted.abandoned.add(1);
        }
        abandoned
    }

    /// Knows again the very change that this call made before its commit's answer was lost:
    /// it is no repeat.
    pub(super) fn recognize(&self, outcome: &mut Result<Done, Error>) {
        let is_own = |made: Timestamp| self.unheard.contains(&made);
        match outcome {
            Ok(Done::Adjusted {
                movements,
                replayed,
                ..
            }) => {
                let made = movements.first().map(|movement| movement.time);
                *replayed &= !made.is_some_and(is_own);
            }
            Ok(Done::Order { order, replayed }) if self.order().is_some() => {
                *replayed &= !is_own(order.updated);
            }
            _ => {}
        }
    }

    /// Answers. A caller that hung up learns the outcome when it sends its request_id again.
    pub(super) fn answer(self, outcome: Result<Done, Error>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(outcome);
        }
    }
}

/// A share of what may wait, given back when it is dropped.
pub(super) struct Room {
    _orders: Held,
    _lines: Held,
}

impl Room {
    /// Takes room for a command of so many lines. What everybody holds is what the
    /// metrics show.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there is none.
    pub(super) fn claim(
        lines: usize,
        config: &EngineConfig,
        waiting: &telemetry::Queue,
    ) -> Result<Self, Error> {
        // From here on its drop gives back what was taken.
        let room = Self {
            _orders: waiting.orders.hold(1),
            _lines: waiting.lines.hold(lines as i64),
        };
        if waiting.orders.get() > config.queue_orders_max as i64 {
            return Err(Error::Overloaded("the queue of orders is full"));
        }
        if waiting.lines.get() > config.queue_lines_max as i64 {
            return Err(Error::Overloaded("the queue of order lines is full"));
        }
        Ok(room)
    }
}
