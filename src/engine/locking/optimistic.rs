//! `optimistic`: nothing is locked; the version decides.
//!
//! **How.** Levels are remembered from the last commit or read without a lock. Every
//! level is written `WHERE version = expected`, in one statement with everything else.
//! A level that has moved on undoes the whole batch; the orders for it are read and
//! planned again, once at once and then, still in conflict, after a random wait, a
//! bounded number of times, and are at last answered `STOCK_CONTENTION`.
//!
//! **What it costs.** One round trip a batch, and locks for the flush alone. A conflict
//! costs a batch's work, which happens only when another instance sells the same level
//! at the same time.
//!
//! **When.** By default. With one instance it never conflicts; with several it notices
//! that it does and locks for a while, below.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::engine::plan::Plan;
use crate::lock::lock;
use crate::storage::{StorageError, Store};
use crate::telemetry::Gauge;

/// Conflicts within [`WINDOW`] after which batches lock their levels first: one is
/// chance, three are a habit.
const CONFLICTS_MAX: u32 = 3;

/// How long a conflict counts.
const WINDOW: Duration = Duration::from_secs(1);

/// How long batches lock before the other instance's absence is hoped for again. Three
/// lost batches in this time are a few per cent.
pub(in crate::engine) const LOCKED: Duration = Duration::from_secs(2);

pub(super) async fn commit(store: &Store, plan: Plan) -> Result<Plan, StorageError> {
    store.commit(&plan.writes).await?;
    Ok(plan)
}

/// Whether conflicts are so frequent that locking is cheaper. Every instance makes
/// progress then: the database lets them take turns.
#[derive(Debug)]
pub(in crate::engine) struct Escalation {
    state: Mutex<State>,
    /// 1 while it is on.
    shown: Gauge,
}

#[derive(Debug, Default)]
struct State {
    /// Conflicts since `window_began`.
    conflicts: u32,
    window_began: Option<Instant>,
    locked_until: Option<Instant>,
}

impl Escalation {
    pub(super) fn new(shown: Gauge) -> Self {
        let state = Mutex::default();
        Self { state, shown }
    }

    /// Whether the next batch locks its levels.
    pub(super) fn is_on(&self) -> bool {
        let locked_until = lock(&self.state).locked_until;
        let is_on = locked_until.is_some_and(|until| Instant::now() < until);
        self.shown.set(is_on.into());
        is_on
    }

    /// Counts a conflict; whether it was the one that turned locking on.
    pub(super) fn conflicted(&self) -> bool {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.window_began.is_none_or(|began| now - began > WINDOW) {
            state.window_began = Some(now);
            state.conflicts = 0;
        }
        state.conflicts += 1;
        let turns_on =
            state.conflicts >= CONFLICTS_MAX && state.locked_until.is_none_or(|until| now >= until);
        if turns_on {
            state.locked_until = Some(now + LOCKED);
            state.conflicts = 0;
        }
        turns_on
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFLICTS_MAX, Escalation, Gauge};

    #[test]
    fn repeated_conflicts_turn_locking_on_once() {
        let escalation = Escalation::new(Gauge::default());
        let turned_on = (0..2 * CONFLICTS_MAX).filter(|_| escalation.conflicted());
        assert_eq!(turned_on.count(), 1);
        assert!(escalation.is_on());
    }

    #[test]
    fn a_conflict_now_and_then_is_no_reason_to_lock() {
        let escalation = Escalation::new(Gauge::default());
        assert!(!escalation.conflicted());
        assert!(!escalation.is_on());
    }
}
