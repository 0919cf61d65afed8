//! Sends the orders of a load and takes their times.
//!
//! Every caller is a task with its own random numbers, its own counts and its
//! own histogram, added up when all is over: nothing is shared on the way of a
//! call but the schedule of an open loop, which is one counter (`schedule`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::mix::Mix;
use super::schedule::{Pace, Schedule};
use crate::cli::latency::Latencies;
use crate::client::proto::{ConfirmOrderRequest, CreateOrderRequest};
use crate::client::{Client, ClientError};

/// The least wait of a caller whose call got no answer from Stockroom, so that
/// a server that is gone is not asked in a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// A load to run.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) mix: Arc<Mix>,
    /// Whether a caller confirms each order before its next one.
    pub(super) confirm: bool,
    pub(super) in_flight: usize,
    pub(super) pace: Pace,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
}

/// What happened. Which orders are measured, [`Schedule::is_measured`] says.
#[derive(Debug)]
pub(super) struct Tally {
    /// Orders accepted, of those that are measured.
    pub(super) accepted: u64,
    /// Lines of these.
    pub(super) lines: u64,
    /// Latencies of these.
    pub(super) latencies: Latencies,
    /// Refusals and errors, of those that are measured, by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Latencies of these; none before the first, since most callers see none.
    pub(super) refusals: Option<Latencies>,
    /// Those of them that did not say when to come back.
    pub(super) refused_for_good: u64,
    /// Orders of an open loop that fell due while it was measured and were not sent.
    pub(super) not_sent: u64,
    /// When the last of those that are measured was answered.
    last: Option<Instant>,
    /// How long after the end that was.
    pub(super) overrun: Duration,
    /// Orders accepted from the first call to the last, warm-up included.
    pub(super) accepted_total: u64,
    /// Lines of these, one unit each.
    pub(super) units_total: u64,
}

impl Tally {
    fn new() -> Self {
        Self {
            accepted: 0,
            lines: 0,
            latencies: Latencies::new(),
            refused: BTreeMap::new(),
            refusals: None,
            refused_for_good: 0,
            not_sent: 0,
            last: None,
            overrun: Duration::ZERO,
            accepted_total: 0,
            units_total: 0,
        }
    }

    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.lines += other.lines;
        self.latencies.add(&other.latencies);
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        if let Some(refusals) = other.refusals {
            self.refusals
                .get_or_insert_with(Latencies::new)
                .add(&refusals);
        }
        self.refused_for_good += other.refused_for_good;
        self.last = self.last.max(other.last);
        self.accepted_total += other.accepted_total;
        self.units_total += other.units_total;
    }

    fn refuse(&mut self, error: &ClientError, latency: Duration) {
        self.refusals
            .get_or_insert_with(Latencies::new)
            .record(latency);
        if error.retry_after.is_none() {
            self.refused_for_good += 1;
        }
        // A look before the insertion spares all but the first a new string.
        match self.refused.get_mut(error.label()) {
            Some(count) => *count += 1,
            None => {
                self.refused.insert(error.label().to_owned(), 1);
            }
        }
    }
}

impl Drive {
    /// Runs it, shared evenly by `clients`, one for each server.
    ///
    /// # Errors
    /// A caller panicked. What the server answers is counted, never an error.
    pub(super) async fn run(&self, clients: &[Client]) -> anyhow::Result<Tally> {
        let schedule = Arc::new(Schedule::begin(self.pace, self.warmup, self.measured));
        let mut callers = JoinSet::new();
        for client in clients.iter().cycle().take(self.in_flight) {
            let caller = Caller {
                client: client.clone(),
                mix: Arc::clone(&self.mix),
                confirm: self.confirm,
                schedule: Arc::clone(&schedule),
                random: rand::make_rng(),
                tally: Tally::new(),
            };
            callers.spawn(caller.call_until_the_end());
        }
        let mut tally = Tally::new();
        while let Some(caller) = callers.join_next().await {
            tally.add(caller?);
        }
        // Whatever was sent has an answer, if only the error that ended it.
        let answered = tally.accepted + tally.refused.values().sum::<u64>();
        tally.not_sent = schedule.due_while_measured().saturating_sub(answered);
        tally.overrun = schedule.overrun(tally.last);
        Ok(tally)
    }
}

/// One caller with one call under way.
struct Caller {
    client: Client,
    mix: Arc<Mix>,
    confirm: bool,
    schedule: Arc<Schedule>,
    random: SmallRng,
    tally: Tally,
}

impl Caller {
    async fn call_until_the_end(mut self) -> Tally {
        while let Some(turn) = self.schedule.turn().await {
            // Ids that begin with the time lie side by side in the store's index.
            let request_id = Uuid::now_v7().to_string();
            let order = self.mix.order(request_id, &mut self.random);
            let lines = order.lines.len() as u64;
            let answer = self.carry_out(order).await;
            let ended = Instant::now();
            let measured = self.schedule.is_measured(turn, ended);
            if measured {
                self.tally.last = Some(ended);
            }
            match answer {
                Ok(_) => {
                    self.tally.accepted_total += 1;
                    self.tally.units_total += lines;
                    if measured {
                        self.tally.accepted += 1;
                        self.tally.lines += lines;
                        self.tally.latencies.record(ended - turn.begun);
                    }
                }
                Err(error) => {
                    if measured {
                        self.tally.refuse(&error, ended - turn.begun);
                    }
                    self.pause(&error).await;
                }
            }
        }
        self.tally
    }

    async fn carry_out(&self, order: CreateOrderRequest) -> Result<(), ClientError> {
        let made = self.client.create_order(order).await?.order;
        if self.confirm {
            let confirm = ConfirmOrderRequest {
                request_id: Uuid::now_v7().to_string(),
                order_id: made.unwrap_or_default().order_id,
                ..ConfirmOrderRequest::default()
            };
            self.client.confirm_order(confirm).await?;
        }
        Ok(())
    }

    /// Does as the server asks: comes back when it said. The next order of an open
    /// loop is somebody else's, who was not asked.
    async fn pause(&self, error: &ClientError) {
        let least = if error.reason.is_empty() {
            ERROR_PAUSE
        } else {
            Duration::ZERO
        };
        let asked = match self.schedule.pace {
            Pace::Closed => error.retry_after.unwrap_or_default(),
            Pace::Open(_) => Duration::ZERO,
        };
        let pause = asked.max(least);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}
