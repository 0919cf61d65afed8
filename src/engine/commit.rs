//! Committing a batch: load, plan, write, and answer after COMMIT.
//!
//! The skeleton that all guards share. After a conflict all are read and planned again at
//! once, but for orders that touch a changed level for the second time: they go back to their
//! callers' backoff. A commit whose outcome is unknown is settled by submitting the same ids
//! again: the unique index on request_id says which it was. A statement that one order
//! breaks is taken apart until that order stands alone.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::locking::{Manner, pessimistic};
use super::metering::{count, count_changes, count_settled};
use super::plan::{Plan, PlanInDoubt, Planner};
use super::queue::Queued;
use super::reclaim::{Attempted, asked, prove_short, put_in_front};
use super::{Committed, Context, Prepared, backoff};
use crate::clock;
use crate::domain::{LevelKey, OrderId, StockLevel, Timestamp};
use crate::error::{Error, chain};
use crate::storage::{ExpiredHold, StorageError};
use crate::telemetry;

/// Answers written before the callers that they wake get their turn. All of a batch at
/// once would leave clients idle meanwhile, and then the server: on two cores 64 took
/// 5 % more orders than a thousand, and fewer took no more.
const ANSWERS_AT_ONCE: usize = 64;

/// Carries out `batch` to the end and answers everyone in it. How many of it the database
/// refused, each alone.
pub(super) async fn run(context: &Arc<Context>, batch: Vec<Queued>) -> usize {
    context.begins(&batch);
    let mut broken = 0;
    // What it is taken apart into; the next one is the last.
    let mut parts = vec![batch];
    while let Some(mut batch) = parts.pop() {
        batch.retain(|queued| !queued.is_abandoned(&context.counters.queue));
        if batch.is_empty() {
            continue;
        }
        let now = clock::now();
        match Box::pin(attempt(context, &batch, now)).await {
            Ok(Attempted::Done(plan)) => remember_and_answer(context, batch, plan),
            Ok(Attempted::Reclaim(over)) => {
                end_alone(context, &mut batch, over).await;
                parts.push(batch);
            }
            Err(error) => {
                let is_refused = matches!(error, StorageError::Failed(_));
                broken += usize::from(is_refused && batch.len() == 1);
                let again = failed(context, batch, error, now).await;
                parts.extend(again.into_iter().rev());
            }
        }
    }
    broken
}

/// Ends these holds in front of `batch`, or by themselves if they are too many.
async fn end_alone(context: &Arc<Context>, batch: &mut Vec<Queued>, over: Vec<ExpiredHold>) {
    let alone = put_in_front(batch, over, context.config.batch_lines_max);
    let ends: usize = alone.iter().map(Vec::len).sum();
    let are_many = ends > 0;
    let mut broken = 0;
    for alone in alone {
        broken += Box::pin(run(context, alone)).await;
    }
    if are_many && broken == ends {
        // The next look would find the very same, and for ever.
        for queued in batch.iter_mut() {
            queued.short_is_final = true;
        }
    }
    // It spares the next look the way past them. The rest is for the sweeper: callers wait.
    if are_many && let Err(error) = context.store.forget_some_deadlines().await {
        tracing::debug!(error = chain(&error), "cannot take deadlines away");
    }
}

/// One attempt at the whole batch, planned on levels that are read now.
async fn attempt(
    context: &Context,
    batch: &[Queued],
    now: Timestamp,
) -> Result<Attempted, StorageError> {
    let keys: BTreeSet<&LevelKey> = batch.iter().flat_map(Queued::keys).collect();
    let keys: Vec<LevelKey> = keys.into_iter().cloned().collect();
    let store = &context.store;
    if context.guarding.manner() == Manner::Locked {
        let began = Instant::now();
        let commit = pessimistic::commit(store, batch, &keys, now, context.events);
        let done = Box::pin(commit).await;
        if matches!(&done, Ok(Attempted::Done(plan)) if !plan.writes.is_empty()) {
            context.counters.commit.time.record_time(began.elapsed());
        }
        return done;
    }
    let held = context.guarding.lock(store, &keys).await?;
    let done = Box::pin(read_and_write(context, batch, &keys, now)).await;
    if let Some(held) = held {
        context.tasks.spawn(held.give_back());
    }
    done
}

/// Plans on levels that are read without a lock of the database.
async fn read_and_write(
    context: &Context,
    batch: &[Queued],
    keys: &[LevelKey],
    now: Timestamp,
) -> Result<Attempted, StorageError> {
    let store = &context.store;
    let mut planner = Planner::new(now, Arc::default(), context.events);
    let levels = store.load_levels(keys).await?;
    // Of what nobody holds nothing can be given back.
    let held = levels.iter().filter(|it| it.level.reserved > 0);
    let held = held.map(|it| (it.level.key.clone(), it.level.room()));
    let loaded: HashMap<LevelKey, i64> = held.collect();
    for level in levels {
        planner.know(level);
    }
    for order in store.load_orders(&orders_of(batch)).await? {
        planner.know_order(order);
    }
    let draft = PlanInDoubt::of(batch, planner);
    let stored = store.load_requests(&draft.in_doubt(batch)).await?;
    let plan = draft.settle(batch, stored);
    if let Some(held) = asked(&plan, batch) {
        let over = store.expired_holds(&held).await?;
        if !over.is_empty() {
            return Ok(Attempted::Reclaim(over));
        }
        prove_short(store, &held, &loaded).await?;
    }
    let written = write(context, &commands(batch), plan).await?;
    Ok(Attempted::Done(written))
}

/// The orders that a batch changes.
pub(super) fn orders_of(batch: &[Queued]) -> Vec<OrderId> {
    let orders = batch.iter().filter_map(Queued::order);
    let ids: BTreeSet<OrderId> = orders.map(|order| order.order_id).collect();
    ids.into_iter().collect()
}

/// Writes a plan that was made ahead. Refusals and repeats alone leave nothing to write.
pub(super) async fn write(
    context: &Context,
    commands: &[&Prepared],
    plan: Plan,
) -> Result<Plan, StorageError> {
    if plan.writes.is_empty() {
        return Ok(plan);
    }
    // On the heap: it is large, and lies in the future of everyone who awaits it.
    let committed = Box::pin(context.guarding.commit(&context.store, commands, plan));
    let began = Instant::now();
    let done = committed.await;
    if done.is_ok() {
        context.counters.commit.time.record_time(began.elapsed());
    }
    done
}

pub(super) fn commands(batch: &[Queued]) -> Vec<&Prepared> {
    batch.iter().map(|queued| &*queued.prepared).collect()
}

/// [`answer`] of what no commit was foreseen to write.
pub(super) fn remember_and_answer(context: &Arc<Context>, batch: Vec<Queued>, plan: Plan) {
    context.memory.remember(&plan.writes);
    answer(context, batch, plan);
}

/// Tells everyone in `batch` what became of it, after the commit.
pub(super) fn answer(context: &Arc<Context>, batch: Vec<Queued>, plan: Plan) {
    let writes = plan.writes;
    if !writes.is_empty() {
        count(&context.counters, &writes);
    }
    if !writes.order_changes.is_empty() {
        count_changes(&context.counters, &batch, &plan.outcomes);
    }
    let levels: Vec<StockLevel> = writes.levels.into_iter().map(|w| w.level).collect();
    let outcomes = plan.outcomes;
    let told = Arc::clone(context);
    // Among the callers, whom this wakes: from here each would cross to their threads alone.
    context.callers.spawn(async move {
        if !levels.is_empty() {
            (told.on_commit)(Committed::Changed(&levels));
        }
        for (place, (queued, outcome)) in batch.into_iter().zip(outcomes).enumerate() {
            if place > 0 && place % ANSWERS_AT_ONCE == 0 {
                // Those who were woken send their answers while the next are told.
                tokio::task::yield_now().await;
            }
            queued.answer(outcome);
        }
    });
}

/// Carries out what follows from a failed attempt at `batch`.
pub(super) async fn begin_again(
    context: &Arc<Context>,
    batch: Vec<Queued>,
    error: StorageError,
    planned_at: Timestamp,
) {
    for batch in failed(context, batch, error, planned_at).await {
        run(context, batch).await;
    }
}

/// What follows from a failed attempt at `batch`, which was planned at `planned_at`.
/// Returns the batches that are to be tried again at once, one after the other; the others
/// have been answered.
async fn failed(
    context: &Arc<Context>,
    mut batch: Vec<Queued>,
    error: StorageError,
    planned_at: Timestamp,
) -> Vec<Vec<Queued>> {
    context.memory.forget();
    match error {
        StorageError::Conflict { levels } => {
            context.conflicted(&levels);
            vec![send_back_conflicted(batch, &levels)]
        }
        StorageError::CommitUnknown(_) => {
            tracing::warn!(
                error = chain(&error),
                orders = batch.len(),
                "settling a commit of unknown outcome"
            );
            settle(context, batch, planned_at).await;
            Vec::new()
        }
        StorageError::Unavailable(_) => {
            telemetry::store_unavailable("a commit", &error);
            refuse_all(batch, || Error::StoreUnavailable(None));
            Vec::new()
        }
        StorageError::Failed(_) if needs_ends(&batch) => {
            // Perhaps one of the ends breaks it: they go alone, once, and then the rest.
            let (ends, mut others): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(Queued::is_of_engine);
            for queued in &mut others {
                queued.short_is_final = true;
            }
            vec![ends, others]
        }
        StorageError::Failed(_) if batch.len() > 1 => {
            // One of them breaks the statement: halve until it stands alone.
            let second = batch.split_off(batch.len() / 2);
            vec![batch, second]
        }
        StorageError::Failed(_) => {
            // Logged by the caller, whose span knows the request.
            if let Some(queued) = batch.pop() {
                if queued.is_of_engine() {
                    // It has no caller.
                    let order = queued.order().map(|order| order.order_id.to_string());
                    tracing::error!(error = chain(&error), order, "cannot end a hold");
                }
                queued.answer(Err(Error::Internal(error)));
            }
            Vec::new()
        }
    }
}

/// Whether some in `batch` stand behind the ends of holds that they need.
fn needs_ends(batch: &[Queued]) -> bool {
    let ends = batch.iter().filter(|queued| queued.is_of_engine()).count();
    ends > 0 && ends < batch.len()
}

/// Answers the orders that touch one of `levels` for the second time with contention,
/// which makes their callers' retries wait, and returns the others. The first time an
/// order is read and planned again at once: as a rule not it met somebody, but the memory
/// that it was planned on was old. No levels: a request has been answered meanwhile, or
/// the database did not say which level it was.
fn send_back_conflicted(batch: Vec<Queued>, levels: &[LevelKey]) -> Vec<Queued> {
    let levels: HashSet<&LevelKey> = levels.iter().collect();
    let mut again = Vec::with_capacity(batch.len());
    for mut queued in batch {
        if !levels.is_empty() && !queued.keys().any(|key| levels.contains(key)) {
            again.push(queued);
        } else if queued.conflicted {
            queued.answer(Err(Error::StockContention { attempts: 1 }));
        } else {
            queued.conflicted = true;
            again.push(queued);
        }
    }
    again
}

/// Submits `batch` again until the database says what became of it, or the time that
/// this may take is over.
async fn settle(context: &Arc<Context>, mut batch: Vec<Queued>, planned_at: Timestamp) {
    for queued in &mut batch {
        // Their requests are looked up before anything is planned.
        queued.conflicted = true;
        queued.unheard.push(planned_at);
    }
    let deadline = Instant::now() + context.config.settle_timeout();
    for wait in backoff(&context.config) {
        let (began, now) = (Instant::now(), clock::now());
        // It may be the one that commits. Whoever asks what was made at a time that is long past
        // need not look again.
        for queued in &mut batch {
            queued.unheard.push(now);
        }
        match Box::pin(attempt(context, &batch, now)).await {
            Ok(Attempted::Done(mut plan)) => {
                context.counters.commit.settled.add(1);
                for (queued, outcome) in batch.iter().zip(&mut plan.outcomes) {
                    queued.recognize(outcome);
                }
                count_settled(&context.counters, &batch, &plan);
                return remember_and_answer(context, batch, plan);
            }
            Ok(Attempted::Reclaim(over)) => {
                end_alone(context, &mut batch, over).await;
            }
            // Another attempt that takes as long would end too late for its callers.
            Err(error) if Instant::now() + began.elapsed() >= deadline => {
                tracing::error!(
                    error = chain(&error),
                    orders = batch.len(),
                    "could not settle a commit"
                );
                break;
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
    }
    refuse_all(batch, || Error::StoreUnavailable(None));
}

fn refuse_all(batch: Vec<Queued>, mut error: impl FnMut() -> Error) {
    for queued in batch {
        queued.answer(Err(error()));
    }
}
