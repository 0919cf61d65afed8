//! A lane whose commit is over the moment that it is looked at.

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::Config;
use crate::engine::locking::Guarding;
use crate::engine::memory::Memory;
use crate::engine::plan::Events;
use crate::engine::queue::Room;
use crate::engine::samples::order;
use crate::samples::config_in;
use crate::storage::{Access, Store};
use crate::telemetry::Counters;

async fn context(config: &Config) -> Arc<Context> {
    let counters = Arc::new(Counters::default());
    Arc::new(Context {
        store: Store::open(&config.store, Access::Write).await.unwrap(),
        config: config.engine.clone(),
        guarding: Guarding::new(config, &counters).unwrap(),
        events: Events::Off,
        counters,
        on_commit: Box::new(|_| {}),
        memory: Memory::default(),
        lanes: Arc::new(Semaphore::new(1)),
        tasks: TaskTracker::new(),
        runtime: Handle::current(),
        callers: Handle::current(),
    })
}

/// Waits for nothing that takes as long as a pause.
fn sent(context: &Context) -> Sent {
    let planner = Planner::new(clock::now(), Arc::default(), Events::Off);
    let (plan, _) = planner.finish(Vec::new());
    Sent {
        planned_at: clock::now(),
        task: context.tasks.spawn(async { (Vec::new(), Ok(plan)) }),
        lane: Arc::clone(&context.lanes).try_acquire_owned().unwrap(),
    }
}

#[tokio::test]
async fn levels_that_are_not_remembered_are_read_however_fast_commits_are() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(&config_in(&folder)).await;
    let (_callers, queue) = mpsc::unbounded_channel();
    let mut lane = Lane::new(queue, Arc::clone(&context));
    let (reply, _answer) = oneshot::channel();
    let room = Room::claim(1, &context.config, &context.counters.queue).unwrap();
    let cold = Queued::new(Arc::new(order("o", "cold", 1)), reply, room);
    lane.strangers.add(cold);
    Box::pin(lane.follow(sent(&context))).await;
    let waiting = lane.strangers.leave().await;
    let read: Vec<bool> = waiting.iter().map(|queued| queued.read).collect();
    assert_eq!(read, [true]);
}
