//! What the relay waits for before it sends, and what it shows meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::future::FutureExt as _;

use super::Context;
use super::sending::Sending;
use crate::clock;
use crate::error::chain;
use crate::kafka::{Publisher, Unreachable};
use crate::storage::{Outbox, Store};
use crate::telemetry::{RelayCounters, SaidOnce};

/// How often a topic that is missing is looked for.
const TOPICS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the outbox is measured.
pub(super) const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// Why waiting ended.
pub(super) enum Waited {
    /// All is there.
    Ready,
    /// Something is not: begin again.
    Failed,
    /// Kafka has not answered for as long as it may take to acknowledge.
    Unreachable,
    /// The server ends.
    Stopped,
}

impl Context {
    /// Gives `sending` a producer, once Kafka answers and has all topics.
    pub(super) async fn ready(&self, sending: &mut Sending<'_>) -> Waited {
        let store_id = match self.store.store_id().await {
            Ok(store_id) => store_id,
            Err(error) => {
                tracing::debug!(error = chain(&error), "the store has no id yet");
                return Waited::Failed;
            }
        };
        let publisher = match sending.connect(store_id) {
            Ok(publisher) => publisher,
            Err(error) => {
                tracing::error!(error = chain(&error), "no client for Kafka");
                return Waited::Failed;
            }
        };
        self.find_topics(publisher, sending).await
    }

    /// A missing topic holds all events back: a row is gone from the outbox when all of
    /// its events are, and every order has one in two topics.
    async fn find_topics(&self, mut publisher: Publisher, sending: &mut Sending<'_>) -> Waited {
        let (mut said, mut heard) = (None, Instant::now());
        loop {
            let asked = tokio::task::spawn_blocking(move || {
                let missing = publisher.missing_topics();
                (publisher, missing)
            });
            // Dropped, the question ends by itself.
            let Some(asked) = asked.with_cancellation_token(&self.stop).await else {
                return Waited::Stopped;
            };
            let Ok((asked, missing)) = asked else {
                return Waited::Failed;
            };
            publisher = asked;
            let missing_now = missing.as_ref().map_or(0, Vec::len);
            self.counters.topics_missing.set(missing_now as i64);
            let problem = match missing {
                Ok(missing) if missing.is_empty() => {
                    sending.begin(publisher);
                    return Waited::Ready;
                }
                Ok(missing) => {
                    heard = Instant::now();
                    format!("there is no topic {}", missing.join(", "))
                }
                Err(Unreachable { .. }) if heard.elapsed() >= self.config.ack_timeout() => {
                    return Waited::Unreachable;
                }
                Err(Unreachable { .. }) => "kafka does not answer".to_owned(),
            };
            if said.as_ref() != Some(&problem) {
                tracing::warn!(problem, "events wait in the outbox");
                said = Some(problem);
            }
            sending.look_at_outbox().await;
            tokio::select! {
                () = sleep(TOPICS_INTERVAL) => {}
                () = self.stop.cancelled() => return Waited::Stopped,
            }
        }
    }
}

/// Keeps the gauges of the outbox true for ever, also where another instance relays. On a
/// connection that ends with it: who leads has one already.
pub(super) async fn measure(store: &Store, counters: &RelayCounters) {
    let (mut outbox, mut measuring) = (store.outbox(), SaidOnce::default());
    loop {
        look(&mut outbox, counters, &mut measuring).await;
        sleep(MEASURE_INTERVAL).await;
    }
}

/// Sets the gauges of the outbox once. Where it cannot be read they stay as they were, which
/// `measuring` has said once.
pub(super) async fn look(outbox: &mut Outbox, counters: &RelayCounters, measuring: &mut SaidOnce) {
    let backlog = match outbox.backlog().await {
        Ok(backlog) => backlog,
        Err(error) => {
            if measuring.failed() {
                tracing::warn!(error = chain(&error), "the outbox cannot be measured");
            }
            return;
        }
    };
    measuring.succeeded();
    let age = backlog
        .oldest
        .map_or(0, |oldest| clock::now().us() - oldest.us());
    counters.outbox_rows.set(backlog.rows);
    counters.outbox_age_seconds.set(age.max(0) / 1_000_000);
}
