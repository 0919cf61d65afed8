//! A plan of which some outcomes are in doubt: of the commands that would be refused, and
//! of those that met a conflict, it must be read whether they have been answered before.

use super::{Answered, Plan, Planner};
use crate::domain::RequestId;
use crate::engine::Done;
use crate::engine::queue::Queued;
use crate::error::Error;

/// A plan whose outcomes are not all sure. An answer that is stored wins.
pub(in crate::engine) struct PlanInDoubt {
    planner: Planner,
    outcomes: Vec<Option<Result<Done, Error>>>,
}

impl PlanInDoubt {
    pub(in crate::engine) fn of(batch: &[Queued], mut planner: Planner) -> Self {
        // An error leaves the planner as it was, so it can be asked again.
        let outcomes = batch.iter().map(|queued| {
            let sure = (!queued.conflicted).then(|| planner.command(&queued.prepared));
            sure.filter(Result::is_ok)
        });
        let outcomes = outcomes.collect();
        Self { planner, outcomes }
    }

    /// The requests to look up.
    pub(in crate::engine) fn in_doubt<'a>(&self, batch: &'a [Queued]) -> Vec<&'a RequestId> {
        let outcomes = batch.iter().zip(&self.outcomes);
        let doubtful = outcomes.filter(|(_, outcome)| outcome.is_none());
        doubtful
            .filter_map(|(queued, _)| queued.prepared.command.request_id())
            .collect()
    }

    /// The plan, given those that were found.
    pub(in crate::engine) fn settle(self, batch: &[Queued], stored: Answered) -> Plan {
        let Self {
            mut planner,
            outcomes,
        } = self;
        planner.know_requests(stored);
        let outcomes = batch.iter().zip(outcomes);
        let outcomes = outcomes
            .map(|(queued, sure)| sure.unwrap_or_else(|| planner.command(&queued.prepared)));
        let outcomes = outcomes.collect();
        planner.finish(outcomes).0
    }
}
