//! Taking back what holds keep after they are over.
//!
//! Promises that an expired hold never makes an order fail: whoever is short of a level
//! that has units reserved looks for holds on it that are over, by the database's clock,
//! and is planned again behind the end of these, in one transaction with them. The
//! sweeper ends all others.

use std::sync::Arc;

use super::Command;
use super::plan::Plan;
use super::queue::Queued;
use crate::domain::{OrderChange, OrderId, Transition};
use crate::storage::{ExpiredHold, HeldLevels};

/// Holds that are taken back for orders in one transaction, at most. Where there are
/// more, those found so far end in a transaction of their own, and the orders go on.
pub(super) const RECLAIMED_ORDERS_MAX: usize = 1_000;

/// How an attempt at a batch ended.
pub(super) enum Attempted {
    /// What it had to write is written.
    Done(Plan),
    /// Nothing is written: these are over, and some order is short of what they hold.
    Reclaim(Vec<ExpiredHold>),
}

/// What to look for when `plan` lacks units that others hold: holds that its batch does
/// not end already.
pub(super) fn asked(plan: &Plan, batch: &[Queued]) -> HeldLevels {
    HeldLevels {
        keys: plan.held.iter().cloned().collect(),
        but_for: ending(batch).collect(),
    }
}

/// The holds that a batch ends because they are over.
fn ending(batch: &[Queued]) -> impl Iterator<Item = OrderId> {
    let own = batch.iter().filter(|queued| queued.is_of_engine());
    own.filter_map(|queued| Some(queued.order()?.order_id))
}

/// Puts the end of each hold in front of `batch`. Returns those that are to be ended by
/// themselves first, since there are too many.
pub(super) fn put_in_front(batch: &mut Vec<Queued>, over: Vec<ExpiredHold>) -> Vec<Queued> {
    let too_many = ending(batch).count() + over.len() > RECLAIMED_ORDERS_MAX;
    let ends = over.into_iter().map(|hold| Queued::of_engine(hold.into()));
    batch.splice(0..0, ends);
    if !too_many {
        return Vec::new();
    }
    let (own, others) = batch.drain(..).partition(Queued::is_of_engine);
    *batch = others;
    own
}

impl From<ExpiredHold> for Command {
    fn from(hold: ExpiredHold) -> Self {
        Self::ChangeOrder(OrderChange {
            order: Arc::new(hold.order),
            request_id: None,
            transition: Transition::Expire(hold.now),
        })
    }
}
