//! Batches: whatever queued while the last commit was under way.
//!
//! Nobody waits for a batch to fill: an idle engine commits a single order at
//! once, and a busy one finds its next batch waiting when a commit ends. It finds
//! it planned, too: while one batch is being committed the next one is planned on
//! the levels that the first leaves, so that it can be sent the moment the first is
//! durable, before anybody is answered. Should the first fail, the plan is thrown away.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Context;
use super::commit::{self, commands};
use super::locking::Manner;
use super::plan::{Answered, Plan, Planner};
use super::queue::Queued;
use super::strangers::Strangers;
use crate::clock;
use crate::domain::Timestamp;
use crate::engine::Done;
use crate::error::Error;
use crate::storage::StorageError;

/// How often what has queued is planned while a commit is under way. Being woken for
/// each order would cost more than planning it.
const PLAN_INTERVAL: Duration = Duration::from_millis(1);

/// Takes batches off the queue until nobody can submit any more.
pub(super) async fn run(queue: mpsc::UnboundedReceiver<Queued>, context: Arc<Context>) {
    let mut lane = Lane::new(queue, context);
    while lane.turn().await {}
}

/// One commit at a time, and the batch after it.
struct Lane {
    queue: mpsc::UnboundedReceiver<Queued>,
    context: Arc<Context>,
    /// Not planned yet, in the order of the queue.
    waiting: VecDeque<Queued>,
    /// What cannot be planned on remembered levels: there is not enough, or the
    /// request has been answered before, which only a load may say.
    aside: Vec<Queued>,
    /// What names levels that are not remembered; they are read while a commit is under way.
    strangers: Strangers,
    ahead: Ahead,
    /// What the commit under way answers, for whoever repeats it.
    earlier: Arc<Answered>,
}

/// A batch that is planned before its commit can begin.
#[derive(Default)]
struct Ahead {
    planner: Option<Planner>,
    batch: Vec<Queued>,
    outcomes: Vec<Result<Done, Error>>,
    lines: usize,
}

/// What can be said of an order before its commit.
enum Foreseen {
    /// It is accepted, or was: its answer, if the guards hold.
    Accepted(Done),
    /// One of its levels is not remembered.
    Unknown,
    /// It would be refused: only a load may say.
    Doubtful,
}

/// A commit under way.
struct Sent {
    planned_at: Timestamp,
    task: JoinHandle<(Vec<Queued>, Result<Plan, StorageError>)>,
    lane: OwnedSemaphorePermit,
}

impl Lane {
    fn new(queue: mpsc::UnboundedReceiver<Queued>, context: Arc<Context>) -> Self {
        Self {
            queue,
            context,
            waiting: VecDeque::new(),
            aside: Vec::new(),
            strangers: Strangers::default(),
            ahead: Ahead::default(),
            earlier: Arc::default(),
        }
    }

    /// One batch, and those that follow from it without a pause; false when there
    /// will be no more.
    async fn turn(&mut self) -> bool {
        if self.waiting.is_empty() && self.aside.is_empty() {
            match self.queue.recv().await {
                Some(queued) => self.waiting.push_back(queued),
                None => return false,
            }
        }
        // Only now, so that an idle engine leaves its lane to PutProducts.
        let Ok(lane) = Arc::clone(&self.context.lanes).acquire_owned().await else {
            return false;
        };
        if self.aside.is_empty() && self.context.guarding.manner() == Manner::Ahead {
            self.plan_ahead();
        } else {
            self.take_what_queued();
        }
        if self.aside.is_empty() && !self.ahead.batch.is_empty() {
            let sent = self.send(lane);
            Box::pin(self.follow(sent)).await;
            let strangers = self.strangers.leave().await;
            self.wait_in_front(strangers);
        } else {
            let batch = self.batch_to_read();
            let context = Arc::clone(&self.context);
            let work = async move {
                commit::run(&context, batch).await;
            };
            self.apart(work).await;
            drop(lane);
        }
        true
    }

    /// Does `work` in a task of its own: a panic costs the callers of its batch, who learn
    /// that nothing is known, and not the engine.
    async fn apart(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.context.tasks.spawn(work).await.is_err() {
            self.context.memory.forget();
        }
    }

    /// Sees commits through, each sent when the one before it is durable.
    async fn follow(&mut self, mut sent: Sent) {
        loop {
            // Before the first pause, which a commit may be shorter than: else whoever waits is
            // passed by for as long as commits are fast. Who comes meanwhile goes with the next
            // read.
            self.strangers.read(&self.context);
            let (batch, done) = loop {
                tokio::select! {
                    biased;
                    ended = &mut sent.task => match ended {
                        Ok(ended) => break ended,
                        // A panic: its callers learn that nothing is known.
                        Err(_) => {
                            self.context.memory.forget();
                            return self.plan_anew();
                        }
                    },
                    known = self.strangers.known(), if self.strangers.are_being_read() => {
                        self.wait_in_front(known);
                    }
                    () = sleep(PLAN_INTERVAL) => {}
                }
                self.plan_ahead();
                self.strangers.read(&self.context);
            };
            let lane = sent.lane;
            match done {
                Ok(plan) => {
                    if plan.is_made_anew {
                        // What was planned behind it stands on what it was to write.
                        self.context.memory.came_otherwise(&plan.writes);
                        self.plan_anew();
                    } else {
                        self.context.memory.came_true();
                    }
                    self.leave_abandoned_out();
                    self.plan_ahead();
                    let next = self.next(lane).await;
                    commit::answer(&self.context, batch, plan);
                    match next {
                        Some(next) => sent = next,
                        None => return,
                    }
                }
                Err(error) => {
                    self.plan_anew();
                    let (context, planned_at) = (Arc::clone(&self.context), sent.planned_at);
                    self.apart(async move {
                        commit::begin_again(&context, batch, error, planned_at).await;
                    })
                    .await;
                    return;
                }
            }
        }
    }

    /// Sends the batch that is planned, unless something has to be read first or
    /// somebody else wants the lane.
    async fn next(&mut self, lane: OwnedSemaphorePermit) -> Option<Sent> {
        drop(lane);
        let is_ready = self.aside.is_empty() && !self.ahead.batch.is_empty();
        if !is_ready || self.context.guarding.manner() != Manner::Ahead {
            self.plan_anew();
            return None;
        }
        let Ok(lane) = Arc::clone(&self.context.lanes).try_acquire_owned() else {
            self.plan_anew();
            return None;
        };
        let sent = self.send(lane);
        // Lets the task begin: the bytes leave before the answers are written.
        tokio::task::yield_now().await;
        Some(sent)
    }

    fn send(&mut self, lane: OwnedSemaphorePermit) -> Sent {
        let ahead = mem::take(&mut self.ahead);
        let planner = ahead.planner.expect("a batch was planned");
        let (plan, accepted) = planner.finish(ahead.outcomes);
        // As they will be; a commit that fails makes all of it forgotten.
        self.context.memory.foresee(&plan.writes);
        self.earlier = Arc::new(accepted);
        let planned_at = plan.writes.time;
        let context = Arc::clone(&self.context);
        let batch = ahead.batch;
        context.begins(&batch);
        let task = self.context.tasks.spawn(async move {
            let written = commit::write(&context, &commands(&batch), plan).await;
            (batch, written)
        });
        Sent {
            planned_at,
            task,
            lane,
        }
    }

    fn take_what_queued(&mut self) {
        while let Ok(queued) = self.queue.try_recv() {
            self.waiting.push_back(queued);
        }
    }

    /// Plans what waits on what is remembered, within the bounds of a batch.
    fn plan_ahead(&mut self) {
        self.take_what_queued();
        while let Some(queued) = self.waiting.pop_front() {
            if !self.ahead.has_room_for(&queued, &self.context) {
                self.waiting.push_front(queued);
                return;
            }
            if queued.is_abandoned(&self.context.counters.queue) {
                continue;
            }
            match self.ahead.plan(&queued, &self.context, &self.earlier) {
                Foreseen::Accepted(done) => self.ahead.add(queued, done),
                Foreseen::Unknown if !queued.read => self.strangers.add(queued),
                Foreseen::Unknown | Foreseen::Doubtful => self.aside.push(queued),
            }
        }
    }

    /// Plans again without those whose callers have hung up since they were planned:
    /// while a commit takes long, all that queue are planned long before they are sent.
    fn leave_abandoned_out(&mut self) {
        let mut batch = self.ahead.batch.iter();
        if batch.any(Queued::is_unheard) {
            self.wait_again();
        }
    }

    /// Gives the planned batch up, and what the one before it answers.
    fn plan_anew(&mut self) {
        self.earlier = Arc::default();
        self.wait_again();
    }

    /// Gives the planned batch up; its orders wait again, in front.
    fn wait_again(&mut self) {
        let planned = mem::take(&mut self.ahead).batch;
        self.wait_in_front(planned);
    }

    fn wait_in_front(&mut self, orders: Vec<Queued>) {
        for queued in orders.into_iter().rev() {
            self.waiting.push_front(queued);
        }
    }

    /// The next batch whose levels are read before it is planned: what was put aside,
    /// and what waits behind it.
    fn batch_to_read(&mut self) -> Vec<Queued> {
        self.plan_anew();
        let strangers = self.strangers.take();
        self.wait_in_front(strangers);
        let aside = mem::take(&mut self.aside);
        self.wait_in_front(aside);
        let config = &self.context.config;
        let mut lines = 0;
        let fitting = self.waiting.iter().take(config.batch_orders_max);
        let fitting = fitting.take_while(|queued| {
            lines += queued.lines();
            lines <= config.batch_lines_max
        });
        let fitting = fitting.count().max(1).min(self.waiting.len());
        self.waiting.drain(..fitting).collect()
    }
}

impl Ahead {
    /// An order that is larger than the bound still goes, alone.
    fn has_room_for(&self, queued: &Queued, context: &Context) -> bool {
        let config = &context.config;
        self.batch.is_empty()
            || (self.batch.len() < config.batch_orders_max
                && self.lines + queued.lines() <= config.batch_lines_max)
    }

    /// What can be said of `queued` from what is remembered.
    fn plan(&mut self, queued: &Queued, context: &Context, earlier: &Arc<Answered>) -> Foreseen {
        let planner = self
            .planner
            .get_or_insert_with(|| Planner::new(clock::now(), Arc::clone(earlier), context.events));
        for key in queued.keys() {
            if !planner.knows(key) {
                match context.memory.recall(key) {
                    Some(level) => planner.know(level),
                    None => return Foreseen::Unknown,
                }
            }
        }
        if let Some(order) = queued.order()
            && !planner.knows_order(order.order_id)
        {
            planner.know_order(context.memory.latest(order));
        }
        match planner.command(&queued.prepared) {
            Ok(done) => Foreseen::Accepted(done),
            Err(_) => Foreseen::Doubtful,
        }
    }

    fn add(&mut self, queued: Queued, done: Done) {
        self.lines += queued.lines();
        self.batch.push(queued);
        self.outcomes.push(Ok(done));
    }
}

#[cfg(test)]
mod tests;
