//! `atomic`: the database subtracts, wherever the level stands.
//!
//! **How.** The plan that was made ahead is a hint: it says how many units and
//! movements each level gets. `UPDATE … SET on_hand = on_hand + delta, version = version + n
//! WHERE on_hand + delta + backorder_limit >= reserved RETURNING …` comes first and locks the rows; the
//! batch is then planned again on what it returned, so that movements and lines carry
//! the true versions, and written. Nothing needs to be at an expected version.
//!
//! **What it costs.** Four round trips a batch, one more where orders change; levels are locked from the first one
//! on. It conflicts only when stock ran short, or when a command asked for a state
//! (a count, an expected version) that has changed.
//!
//! **When.** Several instances sell the same products from plenty of stock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::write;
use crate::domain::{LevelKey, LevelTake, LoadedLevel, RequestId, StockLevel, Version, Writes};
use crate::engine::plan::{Events, Plan, Planner};
use crate::engine::{Done, Prepared};
use crate::error::Error;
use crate::storage::{Guard, StorageError, Store, Verdict, WriteTx};

/// Commits `hint`, the plan of `commands`, or one that does the same from where the
/// levels are.
pub(super) async fn commit(
    store: &Store,
    commands: &[&Prepared],
    hint: Plan,
) -> Result<Plan, StorageError> {
    let takes = takes(&hint.writes);
    store
        .transaction(async |tx| {
            lock_orders(tx, &hint.writes).await?;
            let taken = take(tx, &takes, &hint.writes).await?;
            let plan = plan_again(commands, hint, &takes, taken)?;
            write(tx, &plan, Guard::Taken).await?;
            Ok(Verdict::Commit(plan))
        })
        .await
}

/// What the hint does to each level that has a row.
fn takes(writes: &Writes) -> Vec<LevelTake> {
    let mut deltas: HashMap<&LevelKey, (i64, i64)> = HashMap::new();
    for movement in &writes.movements {
        let (on_hand, reserved) = deltas.entry(&movement.key).or_default();
        *on_hand += movement.on_hand_delta;
        *reserved += movement.reserved_delta;
    }
    let delta = |key| deltas.get(key).copied().unwrap_or_default();
    let existing = writes.levels.iter().filter(|w| w.expected > Version::NONE);
    existing
        .map(|write| LevelTake {
            key: write.level.key.clone(),
            on_hand_delta: delta(&write.level.key).0,
            reserved_delta: delta(&write.level.key).1,
            movements: write.level.version.number() - write.expected.number(),
        })
        .collect()
}

/// Locks the orders that change, before any level, and sees that they are as they were
/// planned on.
async fn lock_orders(tx: &mut WriteTx, writes: &Writes) -> Result<(), StorageError> {
    let changes = &writes.order_changes;
    let ids: Vec<_> = changes.iter().map(|write| write.after.order_id).collect();
    let mut locked = tx.lock_orders(&ids).await?;
    locked.sort_unstable_by_key(|order| order.order_id);
    let before = changes.iter().map(|write| &write.before);
    if locked
        .iter()
        .map(|order| order.version)
        .eq(before.map(|order| order.version))
    {
        return Ok(());
    }
    let lines = changes.iter().flat_map(|write| &write.after.lines);
    Err(StorageError::Conflict {
        levels: lines.map(|line| line.key.clone()).collect(),
    })
}

async fn take(
    tx: &mut WriteTx,
    takes: &[LevelTake],
    writes: &Writes,
) -> Result<HashMap<LevelKey, StockLevel>, StorageError> {
    if takes.is_empty() {
        return Ok(HashMap::new());
    }
    let taken = tx.take(takes, writes.time).await?;
    let taken: HashMap<_, _> = taken.into_iter().map(|l| (l.key.clone(), l)).collect();
    if taken.len() == takes.len() {
        return Ok(taken);
    }
    let short = takes.iter().filter(|take| !taken.contains_key(&take.key));
    Err(StorageError::Conflict {
        levels: short.map(|take| take.key.clone()).collect(),
    })
}

/// Plans what the hint accepted on the levels as they were before they were taken from.
/// Whatever comes out must be what was taken.
fn plan_again(
    commands: &[&Prepared],
    hint: Plan,
    takes: &[LevelTake],
    taken: HashMap<LevelKey, StockLevel>,
) -> Result<Plan, StorageError> {
    let expected: HashMap<&LevelKey, &StockLevel> = hint
        .writes
        .levels
        .iter()
        .map(|w| (&w.level.key, &w.level))
        .collect();
    if taken
        .iter()
        .all(|(key, level)| expected.get(key) == Some(&level))
    {
        return Ok(hint);
    }
    let grown = refused_too_early(&hint.outcomes, &expected, &taken);
    if !grown.is_empty() {
        return Err(StorageError::Conflict { levels: grown });
    }
    let mut planner = planner_of(&hint.writes, takes, &taken);
    let made: HashSet<&RequestId> = hint.writes.requests.iter().map(|w| &w.request_id).collect();
    let outcomes = commands
        .iter()
        .zip(hint.outcomes)
        .map(|(command, mut outcome)| {
            let request_id = command.command.request_id();
            let is_made = outcome.is_ok() && request_id.is_none_or(|id| made.contains(id));
            if is_made {
                planner.command(command)
            } else {
                // Refusals stay as they are. What a repeat tells beside its stored answer may
                // be foreseen, and has come otherwise.
                if let Ok(done) = &mut outcome {
                    planner.renew(done);
                }
                outcome
            }
        });
    let outcomes: Vec<_> = outcomes.collect();
    let (mut plan, _) = planner.finish(outcomes);
    plan.is_made_anew = true;
    let writes = &plan.writes;
    let same = writes.requests.len() == made.len()
        && writes
            .levels
            .iter()
            .filter(|w| w.expected > Version::NONE)
            .all(|w| {
                let level = &taken[&w.level.key];
                let units = |level: &StockLevel| (level.on_hand, level.reserved, level.version);
                units(level) == units(&w.level)
            });
    if same {
        Ok(plan)
    } else {
        let levels = takes.iter().map(|take| take.key.clone()).collect();
        Err(StorageError::Conflict { levels })
    }
}

/// A planner that knows what `writes` are about, as it was before it was taken from.
fn planner_of(
    writes: &Writes,
    takes: &[LevelTake],
    taken: &HashMap<LevelKey, StockLevel>,
) -> Planner {
    let events = match &writes.outbox {
        Some(_) => Events::On,
        None => Events::Off,
    };
    let mut planner = Planner::new(writes.time, Arc::default(), events);
    for take in takes {
        planner.know(before(take, &taken[&take.key]));
    }
    let levels = writes.levels.iter();
    for write in levels.filter(|w| w.expected == Version::NONE) {
        planner.know(LoadedLevel {
            level: StockLevel {
                low_stock_threshold: write.level.low_stock_threshold,
                backorder_limit: write.level.backorder_limit,
                ..StockLevel::none(write.level.key.clone())
            },
            sku_known: true,
        });
    }
    for write in &writes.order_changes {
        planner.know_order(Arc::clone(&write.before));
    }
    planner
}

/// Levels that somebody was refused for, and which turn out to have more than was planned on.
fn refused_too_early(
    outcomes: &[Result<Done, Error>],
    expected: &HashMap<&LevelKey, &StockLevel>,
    taken: &HashMap<LevelKey, StockLevel>,
) -> Vec<LevelKey> {
    let short = outcomes.iter().filter_map(|outcome| match outcome {
        Err(Error::InsufficientStock(short)) => Some(short),
        _ => None,
    });
    let keys = short.flatten().map(|short| &short.key);
    let has_grown = |key: &&LevelKey| {
        let levels = taken.get(*key).zip(expected.get(*key));
        levels.is_some_and(|(taken, expected)| taken.available() > expected.available())
    };
    keys.filter(has_grown).cloned().collect()
}

fn before(take: &LevelTake, level: &StockLevel) -> LoadedLevel {
    let version = level.version.number() - take.movements;
    LoadedLevel {
        level: StockLevel {
            on_hand: level.on_hand - take.on_hand_delta,
            reserved: level.reserved - take.reserved_delta,
            version: Version::new(version),
            ..level.clone()
        },
        sku_known: true,
    }
}

#[cfg(test)]
mod tests;
