//! Committing a batch: load, plan, write, and answer after COMMIT.
//!
//! Every batch runs in a task of its own. A conflict sends the orders that touch
//! a changed level back to their callers' backoff and tries the others again at
//! once. A commit whose outcome is unknown is settled by submitting the same ids
//! again: the unique index on request_id says which it was.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::plan::{Plan, plan};
use super::{Context, Prepared, Queued, backoff};
use crate::clock;
use crate::domain::{LevelKey, Loaded, RequestId, StockLevel};
use crate::error::{Error, chain};
use crate::storage::{StorageError, Verdict, WriteTx};

/// How often the orders of a batch that touch no conflicted level are tried
/// again at once. Each round needs another conflict, so this is reached only in
/// a storm, where backing off is better.
const IMMEDIATE_ROUNDS_MAX: u32 = 4;

/// Commits `batch` and answers everyone in it.
pub(super) async fn run(context: Arc<Context>, mut batch: Vec<Queued>) {
    // Who hung up before the commit began gets no effect.
    batch.retain(|queued| !queued.reply.is_closed());
    let mut rounds = 0;
    while !batch.is_empty() {
        let remembered = plan_from_memory(&context, &batch);
        let from_memory = remembered.is_some();
        let error = match attempt(&context, &batch, remembered).await {
            Ok(plan) => return answer(&context, batch, plan),
            Err(error) => error,
        };
        match error {
            // Nobody's fault but the memory's, which is empty now.
            StorageError::Conflict { .. } if from_memory => context.conflicted(),
            StorageError::Conflict { levels } => {
                context.conflicted();
                rounds += 1;
                let all = rounds > IMMEDIATE_ROUNDS_MAX;
                batch = send_back_conflicted(batch, &levels, all);
            }
            StorageError::CommitUnknown(_) => {
                tracing::warn!(
                    error = chain(&error),
                    orders = batch.len(),
                    "settling a commit of unknown outcome"
                );
                return settle(&context, batch).await;
            }
            StorageError::Unavailable(_) => {
                tracing::error!(
                    error = chain(&error),
                    orders = batch.len(),
                    "the database is unavailable"
                );
                return refuse_all(batch, || Error::StoreUnavailable(None));
            }
            StorageError::Failed(_) if batch.len() > 1 => {
                // One of them breaks the statement: halve until it stands alone.
                let second = batch.split_off(batch.len() / 2);
                Box::pin(run(Arc::clone(&context), second)).await;
            }
            StorageError::Failed(_) => {
                // Logged by the caller, whose span knows the request.
                if let Some(queued) = batch.pop() {
                    let _ = queued.reply.send(Err(Error::Internal(error)));
                }
            }
        }
    }
}

/// A plan on remembered levels, if it accepts every command: only then is there
/// a guard on each of them that proves it right.
fn plan_from_memory(context: &Context, batch: &[Queued]) -> Option<Plan> {
    let commands = commands(batch);
    let loaded = Loaded {
        levels: context.memory.recall(&keys(&commands))?,
        requests: HashMap::new(),
    };
    let plan = plan(&loaded, &commands, clock::now());
    plan.outcomes.iter().all(Result::is_ok).then_some(plan)
}

fn commands(batch: &[Queued]) -> Vec<&Prepared> {
    batch.iter().map(|queued| &*queued.prepared).collect()
}

/// The levels that `commands` name, in the order in which all locks are taken.
fn keys<'a>(commands: &[&'a Prepared]) -> BTreeSet<&'a LevelKey> {
    commands.iter().flat_map(|c| c.command.keys()).collect()
}

/// One transaction over the whole batch, on a plan from memory or on one that it
/// makes of what it loads. Refusals and repeats alone leave nothing to commit.
async fn attempt(
    context: &Context,
    batch: &[Queued],
    remembered: Option<Plan>,
) -> Result<Plan, StorageError> {
    context
        .store
        .transaction(async |tx| {
            let plan = match remembered {
                Some(plan) => plan,
                None => load_and_plan(tx, &commands(batch)).await?,
            };
            if !plan.writes.requests.is_empty() {
                tx.write(&plan.writes).await?;
            }
            Ok(if plan.writes.requests.is_empty() {
                Verdict::Leave(plan)
            } else {
                Verdict::Commit(plan)
            })
        })
        .await
}

async fn load_and_plan(tx: &WriteTx, commands: &[&Prepared]) -> Result<Plan, StorageError> {
    let keys = keys(commands).into_iter().cloned().collect();
    let requests: HashSet<&RequestId> = commands.iter().map(|c| c.command.request_id()).collect();
    let requests: Vec<RequestId> = requests.into_iter().cloned().collect();
    let loaded = tx.load(keys, &requests).await?;
    Ok(plan(&loaded, commands, clock::now()))
}

fn answer(context: &Context, batch: Vec<Queued>, plan: Plan) {
    let counters = &context.counters;
    if !plan.writes.requests.is_empty() {
        counters.commits.add(1);
        counters
            .orders_committed
            .add(plan.writes.orders.len() as u64);
        let adjusted = plan.writes.requests.len() - plan.writes.orders.len();
        counters.adjustments_committed.add(adjusted as u64);
        let levels: Vec<StockLevel> = plan.writes.levels.into_iter().map(|w| w.level).collect();
        context.committed(&levels);
    }
    for (queued, outcome) in batch.into_iter().zip(plan.outcomes) {
        if outcome.is_err() {
            counters.refused.add(1);
        }
        // A caller that hung up learns the outcome when it sends its request_id again.
        let _ = queued.reply.send(outcome);
    }
}

/// Answers the orders that touch one of `levels` with contention, which makes
/// their callers' retries wait, and returns the others.
fn send_back_conflicted(batch: Vec<Queued>, levels: &[LevelKey], all: bool) -> Vec<Queued> {
    let levels: HashSet<&LevelKey> = levels.iter().collect();
    let (back, again): (Vec<_>, Vec<_>) = batch.into_iter().partition(|queued| {
        all || queued
            .prepared
            .command
            .keys()
            .any(|key| levels.contains(key))
    });
    refuse_all(back, || Error::StockContention { attempts: 1 });
    again
}

/// Submits `batch` again until the database says what became of it, within the
/// time that retries have.
async fn settle(context: &Arc<Context>, batch: Vec<Queued>) {
    let deadline = Instant::now() + context.config.retry_total();
    for wait in backoff(&context.config) {
        match attempt(context, &batch, None).await {
            Ok(plan) => return answer(context, batch, plan),
            Err(error) if Instant::now() >= deadline => {
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
        let _ = queued.reply.send(Err(error()));
    }
}
