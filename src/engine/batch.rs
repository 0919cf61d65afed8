//! Batches: whatever queued while the last commit was under way.
//!
//! Nobody waits for a batch to fill: an idle engine commits a single order at
//! once, and a busy one finds its next batch waiting when a lane comes free.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Context, Queued, commit};

/// Takes batches off the queue until nobody can submit any more.
pub(super) async fn run(mut queue: mpsc::Receiver<Queued>, context: Arc<Context>) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(queued) => waiting.push_back(queued),
                None => return,
            }
        }
        // Only now, so that an idle engine leaves its lanes to PutProducts.
        let Ok(lane) = Arc::clone(&context.lanes).acquire_owned().await else {
            return;
        };
        let batch = next(&mut queue, &mut waiting, &context);
        let task = commit::run(Arc::clone(&context), batch);
        context.tasks.spawn(async move {
            task.await;
            drop(lane);
        });
    }
}

/// The next batch within both bounds, in the order of the queue, of what is
/// there. `waiting` holds at least one command, and keeps what a bound on lines
/// shuts out.
fn next(
    queue: &mut mpsc::Receiver<Queued>,
    waiting: &mut VecDeque<Queued>,
    context: &Context,
) -> Vec<Queued> {
    let config = &context.config;
    while waiting.len() < config.batch_orders_max
        && let Ok(queued) = queue.try_recv()
    {
        waiting.push_back(queued);
    }
    let mut lines = 0;
    let fitting = waiting
        .iter()
        .take_while(|queued| {
            lines += queued.prepared.command.lines();
            lines <= config.batch_lines_max
        })
        .count();
    // An order that is larger than the bound still goes, alone.
    waiting.drain(..fitting.max(1)).collect()
}
