//! Questions of many callers, asked together: whatever came while the last questions
//! were on their way, as the engine makes its batches. A single question does not wait.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};

use crate::lock::lock;

/// Questions that may wait; whoever comes then goes without an answer. Every caller has
/// one, so that this is more than the connections of a server carry.
const WAITING_MAX: usize = 65_536;

/// Questions that wait, and who asked.
pub(crate) struct Gather<Q, A> {
    waiting: Mutex<VecDeque<(Q, oneshot::Sender<A>)>>,
    came: Notify,
}

/// Nobody asks yet.
impl<Q, A> Default for Gather<Q, A> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            came: Notify::new(),
        }
    }
}

impl<Q, A> Gather<Q, A> {
    /// Asks; none when too many do.
    pub(crate) async fn ask(&self, question: Q) -> Option<A> {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= WAITING_MAX {
                return None;
            }
            waiting.push_back((question, reply));
            if waiting.len() == 1 {
                self.came.notify_one();
            }
        }
        answer.await.ok()
    }

    /// Waits for questions and takes as many as weigh no more than `weight_max` together,
    /// one at least, each with the way its answer goes. For one task alone.
    pub(crate) async fn next(
        &self,
        weight_max: usize,
        weigh: impl Fn(&Q) -> usize,
    ) -> (Vec<Q>, Vec<oneshot::Sender<A>>) {
        loop {
            let taken = self.take(weight_max, &weigh);
            if !taken.0.is_empty() {
                return taken;
            }
            self.came.notified().await;
        }
    }

    fn take(
        &self,
        weight_max: usize,
        weigh: impl Fn(&Q) -> usize,
    ) -> (Vec<Q>, Vec<oneshot::Sender<A>>) {
        let mut waiting = lock(&self.waiting);
        let mut weight = 0;
        let mut taken = (Vec::new(), Vec::new());
        while let Some((question, _)) = waiting.front() {
            weight += weigh(question);
            if weight > weight_max && !taken.0.is_empty() {
                break;
            }
            let Some((question, reply)) = waiting.pop_front() else {
                break;
            };
            if !reply.is_closed() {
                taken.0.push(question);
                taken.1.push(reply);
            }
        }
        taken
    }
}
