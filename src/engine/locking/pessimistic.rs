//! `pessimistic`: lock first, then look.
//!
//! **How.** `SELECT … FOR UPDATE` in ascending (SKU, location) makes everybody else who
//! wants these levels wait; what is read then cannot change, so the plan made of it
//! holds. The version is checked all the same, which costs nothing.
//!
//! **What it costs.** Four round trips a batch instead of one, during which the levels
//! are locked; other instances wait instead of losing their work.
//!
//! **When.** Several instances sell the same few products all day long.

use std::sync::Arc;

use super::write;
use crate::domain::{LevelKey, Timestamp};
use crate::engine::commit::orders_of;
use crate::engine::plan::{Events, PlanInDoubt, Planner};
use crate::engine::queue::Queued;
use crate::engine::reclaim::{Attempted, asked};
use crate::storage::{Guard, StorageError, Store, Verdict};

/// Plans and commits `batch`, which names `keys`, in one transaction, as of `now`.
pub(in crate::engine) async fn commit(
    store: &Store,
    batch: &[Queued],
    keys: &[LevelKey],
    now: Timestamp,
    events: Events,
) -> Result<Attempted, StorageError> {
    store
        .transaction(async |tx| {
            let mut planner = Planner::new(now, Arc::default(), events);
            for order in tx.lock_orders(&orders_of(batch)).await? {
                planner.know_order(order);
            }
            for level in tx.lock_levels(keys).await? {
                planner.know(level);
            }
            let planned = PlanInDoubt::of(batch, planner);
            let stored = tx.load_requests(&planned.in_doubt(batch)).await?;
            let plan = planned.settle(batch, stored);
            let over = match asked(&plan, batch) {
                None => Vec::new(),
                Some(held) => tx.expired_holds(&held).await?,
            };
            if !over.is_empty() {
                return Ok(Verdict::Leave(Attempted::Reclaim(over)));
            }
            write(tx, &plan, Guard::ByVersion).await?;
            let leave = plan.writes.is_empty();
            let done = Attempted::Done(plan);
            Ok(if leave {
                Verdict::Leave(done)
            } else {
                Verdict::Commit(done)
            })
        })
        .await
}
