//! The relay: moves the outbox to Kafka.
//!
//! One instance at a time does it, the leader; the others wait for it to be gone. It takes
//! rows in the order of their ids and always begins at the lowest that it does not have
//! on its way (ids of commits that share no level become visible in any order), hands
//! their events to one producer, and deletes a row when Kafka has acknowledged all of it.
//! So an event is delivered at least once; of each key, what a reader sees first is in
//! order and without a gap, whatever dies in between: a relay that begins again does so
//! at or before the first event that nobody has acknowledged.
//!
//! It runs on a thread of its own and touches nothing that orders wait for. When Kafka is
//! away the outbox grows, the metrics say so, and nothing else happens.

mod refused;
mod sending;
mod waiting;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::sending::Sending;
use self::waiting::{Waited, measure};
use crate::config::EventsConfig;
use crate::error::chain;
use crate::kafka::Topics;
use crate::storage::{Role, Store};
use crate::telemetry::{Counters, RelayCounters};

/// The pause before a relay that failed begins again.
const BEGIN_AGAIN: Duration = Duration::from_millis(500);

/// What the relay gets beyond its time to drain, to delete what was sent and to leave.
const LEAVE_GRACE: Duration = Duration::from_millis(500);

/// How long an instance that led and could not reach Kafka leaves the lead to others, who ask
/// for it twice a second.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(2);

/// Why a relay does not lead any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another may lead by now.
    Lost,
    /// The way from here to Kafka is cut; that of another instance may not be.
    Unreachable,
}

/// A handle on the relay of this instance.
#[derive(Debug)]
pub(crate) struct Relay {
    wake: Arc<Notify>,
    /// Dropped, it stops as well.
    stop: DropGuard,
    drain_timeout: Duration,
    ended: CancellationToken,
}

/// What the parts of a relay share.
struct Context {
    store: Store,
    config: EventsConfig,
    brokers: String,
    topics: Topics,
    counters: RelayCounters,
    /// Told of commits.
    wake: Arc<Notify>,
    stop: CancellationToken,
}

impl Relay {
    /// Starts it, if there is somebody to tell.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        store: &Store,
        config: &EventsConfig,
        counters: &Counters,
    ) -> anyhow::Result<Option<Self>> {
        let Some(brokers) = config.brokers() else {
            return Ok(None);
        };
        let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let context = Context {
            store: store.clone(),
            brokers: brokers.to_owned(),
            topics: Topics::new(&config.topic_prefix),
            config: config.clone(),
            counters: counters.relay.clone(),
            wake: Arc::clone(&wake),
            stop: stop.clone(),
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the relay")?;
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                let _ends = ends;
                runtime.block_on(context.run());
                // A question to a frozen broker may still wait for its answer.
                runtime.shutdown_background();
            })
            .context("cannot start the relay")?;
        Ok(Some(Self {
            wake,
            stop: stop.drop_guard(),
            drain_timeout: config.drain_timeout(),
            ended,
        }))
    }

    /// What to call after each commit; costs next to nothing.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let wake = Arc::clone(&self.wake);
        move || wake.notify_one()
    }

    /// Resolves when it has ended: when it was told to, or by a panic.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Sends what is left, within `events.drain_timeout_ms`, and lets another instance
    /// lead. To be called when there are no more commits.
    pub(crate) async fn end(self) {
        drop(self.stop);
        let deadline = Instant::now() + self.drain_timeout + LEAVE_GRACE;
        if timeout_at(deadline, self.ended.cancelled()).await.is_err() {
            tracing::warn!("the relay was still busy when its time to end was over");
        }
    }
}

impl Context {
    /// Leads whenever nobody else does, until it is told to stop.
    async fn run(self) {
        let leadership = self.store.leadership(Role::Relay);
        while !self.stop.is_cancelled() {
            let lead = tokio::select! {
                lead = leadership.acquire() => lead,
                () = measure(&self.store, &self.counters) => unreachable!("it measures for ever"),
                () = self.stop.cancelled() => return,
            };
            if self.lead(lead).await == Ended::Unreachable {
                tracing::warn!("kafka cannot be reached from here; another instance may relay");
                tokio::select! {
                    () = sleep(LEFT_TO_OTHERS) => {}
                    () = measure(&self.store, &self.counters) => unreachable!("it measures for ever"),
                    () = self.stop.cancelled() => return,
                }
            }
        }
    }

    /// Relays as long as it leads.
    async fn lead(&self, mut lead: crate::storage::Lead) -> Ended {
        tracing::info!("relaying events to Kafka");
        let active = self.counters.active.hold(1);
        let ended = tokio::select! {
            ended = self.relay() => ended,
            () = lead.lost() => {
                tracing::warn!("the relay has lost its lead");
                Ended::Lost
            }
        };
        // What is in the way of events is the next leader's to say.
        self.counters.keys_stopped.set(0);
        self.counters.topics_missing.set(0);
        drop(active);
        lead.leave().await;
        ended
    }

    /// Returns when it is told to stop and has drained, or has not reached Kafka for so long
    /// that another instance should try.
    async fn relay(&self) -> Ended {
        let mut again = false;
        let mut sending = Sending::new(self);
        loop {
            if again {
                self.counters.restarts.add(1);
                tokio::select! {
                    () = sleep(BEGIN_AGAIN) => {}
                    () = self.stop.cancelled() => return Ended::Stopped,
                }
            }
            again = true;
            match self.ready(&mut sending).await {
                Waited::Ready => {}
                Waited::Failed => continue,
                Waited::Unreachable => return Ended::Unreachable,
                Waited::Stopped => return Ended::Stopped,
            }
            match sending.run().await {
                Ok(()) => return Ended::Stopped,
                Err(trouble) => {
                    self.counters.failures.add(1);
                    tracing::warn!(error = chain(&trouble), "the relay begins again");
                }
            }
        }
    }
}
