//! Taking back what holds keep after they are over.
//!
//! Promises that an expired hold never makes an order fail: whoever is short of a level
//! that has units reserved looks for holds on it that are over, by the database's clock,
//! and is planned again behind the end of these, in one transaction with them. The
//! sweeper ends all others.

use std::collections::HashMap;
use std::sync::Arc;

use super::Command;
use super::plan::Plan;
use super::queue::Queued;
use crate::domain::{LevelKey, OrderChange, OrderId, Transition};
use crate::storage::{ExpiredHold, HeldLevels, StorageError, Store};

/// Holds that are taken back for orders in one transaction, at most, and as many lines as
/// a batch may have. Where there are more, those found so far end in transactions of their
/// own, and the orders go on.
pub(super) const RECLAIMED_ORDERS_MAX: usize = 1_000;

/// How an attempt at a batch ended.
pub(super) enum Attempted {
    /// What it had to write is written.
    Done(Plan),
    /// Nothing is written: these are over, and some order is short of what they hold.
    Reclaim(Vec<ExpiredHold>),
}

/// What to look for when `plan` lacks units that others hold: holds that its batch does
/// not end already. None when it lacks nothing, or what it needs could not be ended.
pub(super) fn asked(plan: &Plan, batch: &[Queued]) -> Option<HeldLevels> {
    let is_final = batch.iter().any(|queued| queued.short_is_final);
    (!plan.held.is_empty() && !is_final).then(|| HeldLevels {
        keys: plan.held.iter().cloned().collect(),
        but_for: ending(batch).collect(),
    })
}

/// Fails unless `plan` is as short of levels as it was when `loaded` were read: what others
/// ended between that and the look for holds that are over is in neither of the two.
///
/// # Errors
/// [`StorageError::Conflict`] with the levels that have more now.
pub(super) async fn prove_short(
    store: &Store,
    held: &HeldLevels,
    loaded: &HashMap<LevelKey, i64>,
) -> Result<(), StorageError> {
    let levels = store.load_levels(&held.keys).await?.into_iter();
    let grown = levels.filter(|now| {
        let then = loaded.get(&now.level.key);
        then.is_some_and(|then| now.level.room() > *then)
    });
    let levels: Vec<LevelKey> = grown.map(|now| now.level.key).collect();
    if levels.is_empty() {
        Ok(())
    } else {
        Err(StorageError::Conflict { levels })
    }
}

/// The holds that a batch ends because they are over.
fn ending(batch: &[Queued]) -> impl Iterator<Item = OrderId> {
    let own = batch.iter().filter(|queued| queued.is_of_engine());
    own.filter_map(|queued| Some(queued.order()?.order_id))
}

/// Puts the end of each hold in front of `batch`. Returns batches of those that are to be
/// ended by themselves first, since there are too many.
pub(super) fn put_in_front(
    batch: &mut Vec<Queued>,
    over: Vec<ExpiredHold>,
    lines_max: usize,
) -> Vec<Vec<Queued>> {
    let ends = over.into_iter().map(|hold| Queued::of_engine(hold.into()));
    batch.splice(0..0, ends);
    let own = batch.iter().filter(|queued| queued.is_of_engine());
    let lines = own.clone().map(Queued::lines).sum::<usize>();
    if own.count() <= RECLAIMED_ORDERS_MAX && lines <= lines_max {
        return Vec::new();
    }
    let (own, others) = batch.drain(..).partition(Queued::is_of_engine);
    *batch = others;
    portions(own, RECLAIMED_ORDERS_MAX, lines_max, Queued::lines)
}

/// Parts of `all` of so many orders and lines at most. An order with more lines goes alone.
pub(super) fn portions<T>(
    all: Vec<T>,
    orders_max: usize,
    lines_max: usize,
    lines_of: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut portions: Vec<Vec<T>> = Vec::new();
    let mut lines = 0;
    for one in all {
        lines += lines_of(&one);
        match portions.last_mut() {
            Some(last) if last.len() < orders_max && lines <= lines_max => last.push(one),
            _ => {
                lines = lines_of(&one);
                portions.push(vec![one]);
            }
        }
    }
    portions
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

#[cfg(test)]
mod tests {
    use super::portions;

    #[test]
    fn a_portion_has_a_bound_on_orders_and_one_on_lines() {
        let of = |lines: Vec<usize>| portions(lines, 3, 10, |lines| *lines);
        assert_eq!(of(vec![]), Vec::<Vec<usize>>::new());
        assert_eq!(of(vec![1, 1, 1, 1]), [vec![1, 1, 1], vec![1]]);
        assert_eq!(of(vec![4, 6, 1, 9]), [vec![4, 6], vec![1, 9]]);
        assert_eq!(of(vec![50, 1, 60]), [vec![50], vec![1], vec![60]]);
    }
}
