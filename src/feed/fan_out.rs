//! The task that tells watchers.
//!
//! Publishing happens between a commit and its answers and only notes which levels
//! are due. This task goes through them in turns, a part of their watchers at a time,
//! at the pace that the budget allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::pacing::Budget;
use super::slot::{Slot, Walked};
use super::{Feed, Shared};
use crate::lock::lock;

/// Watchers that are told before others have their turn: at a fifth of a core
/// their deliveries are worth 10 ms, which is what the next level waits. Those
/// that share a connection are written together, so fewer would cost more.
const TOLD_MAX: usize = 256;

/// Watchers that are passed in one go, told or not.
const PASSED_MAX: usize = 2_048;

/// Levels with watchers to tell, in the order they became so.
#[derive(Default)]
pub(super) struct Due {
    slots: Mutex<VecDeque<Arc<Slot>>>,
    wake: Notify,
}

impl Due {
    /// Queues slots, each of which has just become due.
    pub(super) fn push(&self, slots: Vec<Arc<Slot>>) {
        if slots.is_empty() {
            return;
        }
        let was_empty = {
            let mut queue = lock(&self.slots);
            let was_empty = queue.is_empty();
            queue.extend(slots);
            was_empty
        };
        if was_empty {
            self.wake.notify_one();
        }
    }

    fn pop(&self) -> Option<Arc<Slot>> {
        lock(&self.slots).pop_front()
    }

    async fn next(&self) -> Arc<Slot> {
        loop {
            // Registered before looking, so that no wake-up is lost.
            let woken = self.wake.notified();
            if let Some(slot) = self.pop() {
                return slot;
            }
            woken.await;
        }
    }
}

/// Tells watchers of what is published, taking at most `cpu_share_percent` of one
/// core for it and for what follows from it; 0 sets no limit. Until dropped;
/// without it nobody is told of anything.
pub(crate) async fn fan_out_forever(feed: Feed, cpu_share_percent: u32) {
    let mut budget = Budget::new(cpu_share_percent, Instant::now());
    loop {
        let mut slot = feed.shared.due.next().await;
        let (mut told, mut passed) = (0, 0);
        loop {
            let walked = feed.shared.walk(&slot, TOLD_MAX - told, PASSED_MAX);
            if walked.goes_on {
                feed.shared.due.push(vec![slot]);
            }
            told += walked.told;
            passed += if walked.goes_on { PASSED_MAX } else { 1 };
            if told >= TOLD_MAX || passed >= PASSED_MAX {
                break;
            }
            match feed.shared.due.pop() {
                Some(next) => slot = next,
                None => break,
            }
        }
        match budget.spend(told, Instant::now()) {
            Some(paid) => sleep_until(paid).await,
            None => yield_now().await,
        }
    }
}

impl Shared {
    /// Walks on through the watchers of one slot.
    fn walk(&self, slot: &Arc<Slot>, told_max: usize, passed_max: usize) -> Walked {
        let walked = {
            // Held until they are registered: a watch that ends meanwhile waits.
            let selecting = lock(&self.selecting);
            let mut state = lock(&slot.state);
            if !state.forgotten {
                selecting.register(slot, &mut state);
            }
            drop(selecting);
            state.walk(told_max, passed_max)
        };
        if walked.is_empty {
            lock(&self.state).forget_if_unwatched(slot);
        }
        walked
    }
}
