//! Without batches: every order is a commit of its own, several at a time.
//!
//! Orders for one level go one after the other, in the order of the queue: two commits
//! of this process that met on a level would only take each other's time. A place in a
//! level's queue is taken in ascending (SKU, location), so nobody waits in a ring.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedMutexGuard, mpsc};

use super::Context;
use super::commit::{self, commands};
use super::locking::Manner;
use super::plan::{Plan, Planner};
use super::queue::Queued;
use crate::clock;
use crate::domain::LevelKey;
use crate::lock::lock;

/// Takes orders off the queue until nobody can submit any more.
pub(super) async fn run(mut queue: mpsc::UnboundedReceiver<Queued>, context: Arc<Context>) {
    let turns = Arc::new(Turns::default());
    while let Some(queued) = queue.recv().await {
        let (context, turns) = (Arc::clone(&context), Arc::clone(&turns));
        let tasks = context.tasks.clone();
        // Spawned in the order of the queue, and on one thread, so they queue in it too.
        tasks.spawn(async move {
            let turn = turns.take(&queued).await;
            if let Ok(lane) = Arc::clone(&context.lanes).acquire_owned().await {
                carry_out(&context, queued).await;
                drop(lane);
            }
            drop(turn);
        });
    }
}

/// On remembered levels if they suffice.
async fn carry_out(context: &Arc<Context>, queued: Queued) {
    let batch = vec![queued];
    let Some(plan) = plan_from_memory(context, &batch[0]) else {
        commit::run(context, batch).await;
        return;
    };
    context.begins(&batch);
    let planned_at = plan.writes.time;
    match commit::write(context, &commands(&batch), plan).await {
        Ok(plan) => commit::remember_and_answer(context, batch, plan),
        Err(error) => {
            commit::begin_again(context, batch, error, planned_at).await;
        }
    }
}

fn plan_from_memory(context: &Context, queued: &Queued) -> Option<Plan> {
    if queued.is_unheard() || context.guarding.manner() != Manner::Ahead {
        return None;
    }
    let mut planner = Planner::new(clock::now(), Arc::default(), context.events);
    for key in queued.keys() {
        planner.know(context.memory.recall(key)?);
    }
    if let Some(order) = queued.order() {
        planner.know_order(context.memory.latest(order));
    }
    let outcome = planner.command(&queued.prepared);
    outcome.is_ok().then(|| planner.finish(vec![outcome]).0)
}

/// Whose turn it is on each level that somebody wants.
#[derive(Default)]
struct Turns(Mutex<HashMap<LevelKey, Arc<tokio::sync::Mutex<()>>>>);

/// The right to change some levels; gives way to the next when dropped.
struct Turn {
    turns: Arc<Turns>,
    held: Vec<(LevelKey, OwnedMutexGuard<()>)>,
}

impl Turns {
    async fn take(self: &Arc<Self>, queued: &Queued) -> Turn {
        let keys: BTreeSet<&LevelKey> = queued.keys().collect();
        let mut turn = Turn {
            turns: Arc::clone(self),
            held: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let level = Arc::clone(lock(&self.0).entry(key.clone()).or_default());
            turn.held.push((key.clone(), level.lock_owned().await));
        }
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        for (key, level) in self.held.drain(..) {
            drop(level);
            // The map's own is the only one: nobody waits. Whoever comes next holds the
            // map's lock while it takes its share, so none can appear meanwhile.
            if turns
                .get(&key)
                .is_some_and(|level| Arc::strong_count(level) == 1)
            {
                turns.remove(&key);
            }
        }
    }
}
