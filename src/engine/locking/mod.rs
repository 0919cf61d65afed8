//! Guards: how a batch makes sure that nobody else has sold its units meanwhile. A guard decides how levels are loaded and what is written first;
//! the rest of a commit is the same for all of them (`engine/commit.rs`).
//!
//! The version of every level is checked under each of them, so instances with
//! different guards may share a database.

pub(super) mod atomic;
pub(super) mod optimistic;
pub(super) mod pessimistic;

use self::optimistic::Escalation;
use super::plan::{Accepted, Plan, Planner};
use super::queue::Queued;
use super::{Done, Prepared};
use crate::config::LockingStrategy;
use crate::domain::RequestId;
use crate::error::Error;
use crate::storage::{Guard, StorageError, Store, WriteTx};
use crate::telemetry;

/// The guard of an engine.
pub(super) enum Guarding {
    Optimistic(Escalation),
    Pessimistic,
    Atomic,
}

/// How the next batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Its plan is made before its transaction begins.
    Ahead,
    /// Its levels are locked first, and planned on as they are then.
    Locked,
}

impl Guarding {
    pub(super) fn new(strategy: LockingStrategy, metrics: &telemetry::Locks) -> Self {
        match strategy {
            LockingStrategy::Optimistic => {
                Self::Optimistic(Escalation::new(metrics.escalated.clone()))
            }
            LockingStrategy::Pessimistic => Self::Pessimistic,
            LockingStrategy::Atomic => Self::Atomic,
        }
    }

    pub(super) fn manner(&self) -> Manner {
        match self {
            Self::Optimistic(escalation) if escalation.is_on() => Manner::Locked,
            Self::Optimistic(_) | Self::Atomic => Manner::Ahead,
            Self::Pessimistic => Manner::Locked,
        }
    }

    /// To be told of each conflict.
    pub(super) fn conflicted(&self) -> bool {
        match self {
            Self::Optimistic(escalation) => escalation.conflicted(),
            Self::Pessimistic | Self::Atomic => false,
        }
    }

    /// Commits a plan that was made ahead, and returns the one that was written: a guard
    /// that finds the levels elsewhere may have planned anew.
    pub(super) async fn commit(
        &self,
        store: &Store,
        commands: &[&Prepared],
        plan: Plan,
    ) -> Result<Plan, StorageError> {
        match self {
            Self::Optimistic(_) => optimistic::commit(store, plan).await,
            Self::Atomic => atomic::commit(store, commands, plan).await,
            Self::Pessimistic => unreachable!("a pessimistic guard makes no plan ahead"),
        }
    }
}

/// A plan of which some outcomes are in doubt: of the commands that would be refused,
/// and of those that met a conflict, it must be read whether they have been answered
/// before. An answer that is stored wins.
pub(super) struct Draft {
    planner: Planner,
    outcomes: Vec<Option<Result<Done, Error>>>,
}

impl Draft {
    pub(super) fn of(batch: &[Queued], mut planner: Planner) -> Self {
        // An error leaves the planner as it was, so it can be asked again.
        let outcomes = batch.iter().map(|queued| {
            let sure = (!queued.conflicted).then(|| planner.command(&queued.prepared));
            sure.filter(Result::is_ok)
        });
        let outcomes = outcomes.collect();
        Self { planner, outcomes }
    }

    /// The requests to look up.
    pub(super) fn in_doubt<'a>(&self, batch: &'a [Queued]) -> Vec<&'a RequestId> {
        let outcomes = batch.iter().zip(&self.outcomes);
        let doubtful = outcomes.filter(|(_, outcome)| outcome.is_none());
        doubtful
            .map(|(queued, _)| queued.prepared.command.request_id())
            .collect()
    }

    /// The plan, given those that were found.
    pub(super) fn settle(self, batch: &[Queued], stored: Accepted) -> Plan {
        let Self {
            mut planner,
            outcomes,
        } = self;
        planner.know_requests(stored);
        let outcomes = batch.iter().zip(outcomes);
        let outcomes = outcomes
            .map(|(queued, sure)| sure.unwrap_or_else(|| planner.command(&queued.prepared)));
        let outcomes = outcomes.collect();
        let (writes, _) = planner.finish();
        Plan { outcomes, writes }
    }
}

/// Writes what `plan` has to write, if anything.
async fn write(tx: &mut WriteTx, plan: &Plan, guard: Guard) -> Result<(), StorageError> {
    if plan.writes.requests.is_empty() {
        return Ok(());
    }
    tx.write(&plan.writes, guard).await
}
