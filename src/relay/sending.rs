//! Sending: rows from the outbox, receipts from Kafka, and rows deleted.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Context;
use super::refused::Refused;
use super::waiting::{MEASURE_INTERVAL, look};
use crate::events::{Corrupt, Row};
use crate::kafka::{Fate, KafkaError, Pace, Publisher, Receipt};
use crate::storage::{Outbox, OutboxRow, Room, StorageError};
use crate::telemetry::SaidOnce;

/// Least time between two looks at the outbox and at what Kafka has reported: what the
/// commits in it leave behind is taken with one statement, and sent with few requests.
/// 10 ms took 7 % more of server and database, and two fifths more of the broker; an
/// event that comes alone does not wait.
const ROUND: Duration = Duration::from_millis(25);

/// After a refusal, events travel one by one for so long, and twice as long each time, up
/// to the longest: a topic that takes less than a batch would otherwise refuse over and
/// over.
const ONE_BY_ONE: Duration = Duration::from_secs(15);
const ONE_BY_ONE_MAX: Duration = Duration::from_secs(300);

/// Silence of Kafka's that is worth a line in the log.
const SILENCE: Duration = Duration::from_secs(5);

/// Why the relay begins again. What was under way is sent again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("kafka gave up: {0}")]
    Lost(String),
    #[error("kafka refuses events: {0}")]
    Refused(String),
    #[error("kafka has acknowledged nothing for {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the outbox cannot be read")]
    Store(#[from] StorageError),
    #[error("row {0} of the outbox")]
    Corrupt(i64, #[source] Corrupt),
    #[error("there is no producer")]
    NoProducer,
    #[error("events go one by one from here on, or no longer")]
    OtherPace,
}

/// A row whose events are on their way.
struct Sent {
    row: OutboxRow,
    receipt: Arc<Receipt>,
    /// Events without a report when it was last looked.
    left: usize,
    /// The events that were not sent, by their place.
    held: Vec<u32>,
}

impl Sent {
    /// Whether Kafka has reported events of it since the last look. A row may have
    /// thousands, which take their time one by one: they are no silence.
    fn is_moving(&mut self) -> bool {
        let left = self.receipt.left();
        left < mem::replace(&mut self.left, left)
    }
}

/// The state of a relay that leads.
pub(super) struct Sending<'a> {
    context: &'a Context,
    outbox: Outbox,
    publisher: Option<Publisher>,
    pace: Pace,
    /// Until when events go one by one, and for how long since the last refusal of a batch.
    careful_until: Instant,
    careful_for: Duration,
    /// In the order in which they were sent.
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    /// Rows that Kafka has, to be deleted.
    done: Vec<i64>,
    refused: Refused,
    /// When Kafka last acknowledged something, or had nothing to.
    heard: Instant,
    hearing: SaidOnce,
    measured: Instant,
    /// Whether that worked.
    measuring: SaidOnce,
}

impl<'a> Sending<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let now = Instant::now();
        Self {
            outbox: context.store.outbox(),
            publisher: None,
            pace: Pace::Batched,
            careful_until: now,
            careful_for: Duration::ZERO,
            sent: VecDeque::new(),
            sent_bytes: 0,
            done: Vec::new(),
            refused: Refused::new(context.config.refused_retry()),
            heard: now,
            hearing: SaidOnce::default(),
            measured: now,
            measuring: SaidOnce::default(),
            context,
        }
    }

    /// A producer at the pace that is due.
    pub(super) fn connect(&mut self, store_id: Uuid) -> Result<Publisher, KafkaError> {
        self.pace = if Instant::now() < self.careful_until {
            Pace::OneByOne
        } else {
            Pace::Batched
        };
        let context = self.context;
        let topics = context.topics.clone();
        Publisher::new(&context.brokers, topics, store_id, self.pace)
    }

    /// Begins with this producer.
    pub(super) fn begin(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
        self.refused.begin();
        self.heard = Instant::now();
    }

    /// Keeps the gauges of the outbox true while nothing is sent.
    pub(super) async fn look_at_outbox(&mut self) {
        let counters = &self.context.counters;
        look(&mut self.outbox, counters, &mut self.measuring).await;
        self.measured = Instant::now();
    }

    /// Moves rows until there is trouble, or the server ends and all are moved or the
    /// time for that is over.
    pub(super) async fn run(&mut self) -> Result<(), Trouble> {
        let done = self.rounds().await;
        if done.is_err() {
            // The successor begins at the first row that is not done.
            self.sent.clear();
            self.sent_bytes = 0;
        }
        if let Some(publisher) = self.publisher.take() {
            publisher.close();
        }
        done
    }

    async fn rounds(&mut self) -> Result<(), Trouble> {
        let context = self.context;
        let mut deadline = None;
        loop {
            let next = Instant::now() + ROUND;
            self.settle()?;
            let took = self.take().await?;
            if context.stop.is_cancelled() {
                let drained = !took && self.sent.is_empty() && self.done.is_empty();
                let until = *deadline
                    .get_or_insert_with(|| Instant::now() + context.config.drain_timeout());
                if drained || Instant::now() >= until {
                    return Ok(());
                }
            }
            if self.measured.elapsed() >= MEASURE_INTERVAL {
                self.look_at_outbox().await;
            }
            if !took && self.done.is_empty() {
                self.wait(deadline).await?;
            }
            sleep_until(next).await;
        }
    }

    /// Waits for a commit, for Kafka, until it is time to look for commits of others, or
    /// until `deadline`, which there is once the server ends.
    async fn wait(&self, deadline: Option<Instant>) -> Result<(), Trouble> {
        let context = self.context;
        let publisher = self.publisher.as_ref().ok_or(Trouble::NoProducer)?;
        let next = Instant::now() + context.config.relay_poll();
        let until = deadline.map_or(next, |deadline| next.min(deadline));
        loop {
            let look = if self.sent.is_empty() {
                until
            } else {
                until.min(Instant::now() + ROUND)
            };
            tokio::select! {
                () = context.wake.notified() => return Ok(()),
                () = context.stop.cancelled(), if deadline.is_none() => return Ok(()),
                () = sleep_until(look) => {}
            }
            if publisher.poll() || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Looks what became of what was sent.
    fn settle(&mut self) -> Result<(), Trouble> {
        self.publisher.as_ref().ok_or(Trouble::NoProducer)?.poll();
        let before = self.sent.len();
        let (mut moving, mut trouble) = (false, None);
        for mut sent in mem::take(&mut self.sent) {
            match sent.receipt.fate() {
                Fate::Acknowledged => {
                    self.sent_bytes -= sent.row.body.len();
                    if self.refused.settle(sent.row.id, sent.held) {
                        self.done.push(sent.row.id);
                    }
                }
                Fate::Pending => {
                    // Acknowledged: a failure would be its fate.
                    moving |= sent.is_moving();
                    self.sent.push_back(sent);
                }
                Fate::Refused(events, why) => {
                    self.refused(&sent.row, &events, &why)?;
                    trouble = Some(Trouble::Refused(why));
                }
                Fate::Lost(why) => trouble = trouble.or(Some(Trouble::Lost(why))),
            }
        }
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        self.check_silence(moving || self.sent.len() < before)
    }

    /// Stops the keys of what was refused alone. What was refused in company may have
    /// been innocent: it is sent again one by one.
    fn refused(&mut self, row: &OutboxRow, events: &[u32], why: &str) -> Result<(), Trouble> {
        if self.pace == Pace::OneByOne {
            let parsed = Row::parse(&row.body).map_err(|e| Trouble::Corrupt(row.id, e))?;
            for place in events {
                let event = &parsed.events[*place as usize];
                let (topic, key) = (event.topic.name(), event.key);
                tracing::error!(topic, ?key, why, "kafka refuses an event; its key stops");
                self.refused.stop(event);
            }
            let keys = self.refused.keys();
            self.context.counters.keys_stopped.set(keys as i64);
            self.careful_until = self.careful_until.max(Instant::now() + ONE_BY_ONE);
        } else if self.careful_until <= Instant::now() {
            // Once for all rows of a batch, each of which is refused with it.
            self.careful_for = (2 * self.careful_for).clamp(ONE_BY_ONE, ONE_BY_ONE_MAX);
            self.careful_until = Instant::now() + self.careful_for;
        }
        Ok(())
    }

    fn check_silence(&mut self, acknowledged: bool) -> Result<(), Trouble> {
        if self.sent.is_empty() || acknowledged {
            self.heard = Instant::now();
            if self.hearing.succeeded() {
                tracing::info!("kafka acknowledges events again");
            }
        }
        let silence = self.heard.elapsed();
        if silence >= self.context.config.ack_timeout() {
            return Err(Trouble::Silent(silence));
        }
        if silence >= SILENCE && self.hearing.failed() {
            tracing::warn!("kafka acknowledges nothing; events wait in the outbox");
        }
        Ok(())
    }

    /// Deletes what is done, takes what there is room for, and sends it. Whether there
    /// was anything.
    async fn take(&mut self) -> Result<bool, Trouble> {
        let room = self.room()?;
        let busy: Vec<i64> = self
            .sent
            .iter()
            .map(|sent| sent.row.id)
            .chain(self.refused.rows())
            .collect();
        let rows = self.outbox.take(&self.done, &busy, room).await?;
        self.done.clear();
        let took = !rows.is_empty();
        for row in rows {
            self.send(row)?;
        }
        Ok(took)
    }

    /// How much more may be on its way.
    fn room(&mut self) -> Result<Room, Trouble> {
        let config = &self.context.config;
        let nothing = Room { rows: 0, bytes: 0 };
        let careful = Instant::now() < self.careful_until;
        let other_pace = self.pace == Pace::OneByOne && !careful;
        if other_pace || self.refused.is_due() {
            // Once nothing is under way, so that nothing is sent twice.
            if !self.sent.is_empty() || !self.done.is_empty() {
                return Ok(nothing);
            }
            if self.refused.is_due() {
                self.refused.offer();
                self.context.counters.keys_stopped.set(0);
                self.careful_until = Instant::now() + ONE_BY_ONE;
            }
            return Err(Trouble::OtherPace);
        }
        if self.refused.is_full() || self.sent_bytes >= config.relay_bytes_max {
            return Ok(nothing);
        }
        Ok(Room {
            rows: config.relay_commits_max.saturating_sub(self.sent.len()),
            bytes: config.relay_bytes_max - self.sent_bytes,
        })
    }

    fn send(&mut self, row: OutboxRow) -> Result<(), Trouble> {
        let parsed = Row::parse(&row.body).map_err(|e| Trouble::Corrupt(row.id, e))?;
        let publisher = self.publisher.as_ref().ok_or(Trouble::NoProducer)?;
        let (places, held) = self.refused.divide(row.id, &parsed.events);
        let left = places.len();
        let receipt = Receipt::new(left);
        self.context.counters.published.add(left as u64);
        let events = &parsed.events;
        publisher.send(row.id, row.created, events, places.into_iter(), &receipt);
        self.sent_bytes += row.body.len();
        self.sent.push_back(Sent {
            row,
            receipt,
            left,
            held,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn a_row_moves_with_each_of_its_events_that_is_reported() {
        let receipt = Receipt::new(3);
        let mut sent = Sent {
            row: OutboxRow {
                id: 1,
                created: Timestamp::from_us(0),
                body: Vec::new(),
            },
            receipt: Arc::clone(&receipt),
            left: 3,
            held: Vec::new(),
        };
        assert!(!sent.is_moving(), "nothing is reported yet");
        for _ in 0..2 {
            receipt.reported();
            assert!(sent.is_moving());
            assert!(!sent.is_moving(), "it has been seen");
        }
    }
}
