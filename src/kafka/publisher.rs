//! Sending events.
//!
//! One producer, idempotent and with acks from all in-sync replicas, used by one task,
//! which also looks for reports, so that no other thread wakes for them. Order within a
//! partition is kept by never letting a gap happen:
//!
//! - A message never expires (`message.timeout.ms = 0`). One that expired while the next
//!   did not would leave a gap. Whoever waits too long drops the producer instead, and
//!   with it all that it has not sent, at once.
//! - A message that is refused for good kills the producer (`enable.gapless.guarantee`):
//!   the broker takes nothing that would have come after it, since its sequence number
//!   does not follow.
//!
//! What a dropped producer had on the wire may still arrive, beside what its successor
//! sends again from the same place on: each of the two is gapless and in order, and so
//! is what a reader sees first of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as Failure, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig,
};
use uuid::Uuid;

use super::client::{Quiet, settings};
use super::topics::partitions;
use super::{KafkaError, Topics, Unreachable, message};
use crate::domain::Timestamp;
use crate::events::{Event, Key};
use crate::lock::lock;

/// Time that messages wait for company. The events of a commit come together; those of
/// the next may be a round of the relay away.
const LINGER_MS: &str = "5";

/// Requests on their way to one broker. What comes meanwhile makes the next one, which is
/// the larger the busier a broker is; more in flight make more and smaller ones, and each
/// costs the broker and this process as much.
const REQUESTS_IN_FLIGHT: &str = "1";

/// The largest message that this client lets pass: the broker decides.
const MESSAGE_BYTES_MAX: &str = "1000000000";

/// Most messages in the client, of as many KiB: out of the way of the relay's own bounds.
const QUEUE_MESSAGES_MAX: &str = "100000000";
const QUEUE_KIB_MAX: &str = "2147483647";

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Many in a request.
    Batched,
    /// One a request, so that a refusal hits the one that is refused. A limit of the
    /// broker's holds for what travels together.
    OneByOne,
}

/// What became of the events that were sent with one receipt.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Some are still on their way.
    #[default]
    Pending,
    /// Kafka has all of them.
    Acknowledged,
    /// Kafka will never take these, by their place in the commit; and why.
    Refused(Vec<u32>, String),
    /// The producer gave up, for a passing reason.
    Lost(String),
}

/// What becomes of the events of one commit.
#[derive(Debug)]
pub struct Receipt {
    left: AtomicUsize,
    trouble: Mutex<Option<Fate>>,
}

/// A producer. Dropping it blocks for up to a second: see [`Publisher::close`].
pub struct Publisher {
    producer: BaseProducer<Reports>,
    topics: Topics,
    source: String,
}

/// What the client needs to report what became of a message.
struct Reports;

/// A message's place, which comes back with the report.
struct Place {
    receipt: Arc<Receipt>,
    event: u32,
}

impl Receipt {
    /// For so many events.
    pub fn new(events: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(events),
            trouble: Mutex::default(),
        })
    }

    /// What is known.
    pub fn fate(&self) -> Fate {
        if let Some(trouble) = &*lock(&self.trouble) {
            return trouble.clone();
        }
        match self.left() {
            0 => Fate::Acknowledged,
            _ => Fate::Pending,
        }
    }

    /// Events without a report.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Acquire)
    }

    /// One of them has its report.
    pub fn reported(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    fn failed(&self, event: u32, error: &Failure) {
        let mut trouble = lock(&self.trouble);
        let is_refused = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::MessageSizeTooLarge
                    | Code::MessageBatchTooLarge
                    | Code::InvalidRecord
                    | Code::InvalidMessageSize
            )
        );
        match (&mut *trouble, is_refused) {
            (Some(Fate::Refused(events, _)), true) => events.push(event),
            (Some(Fate::Refused(..)), false) => {}
            (_, true) => *trouble = Some(Fate::Refused(vec![event], error.to_string())),
            (_, false) => *trouble = Some(Fate::Lost(error.to_string())),
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: Failure, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        let receipt = &place.receipt;
        if let Err((error, _)) = result {
            receipt.failed(place.event, error);
        }
        receipt.reported();
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl Publisher {
    /// A producer for the events of `store_id`, which connects by itself, now and
    /// whenever it must.
    ///
    /// # Errors
    /// The client cannot be made: a setting is wrong, or there are no threads.
    pub fn new(
        brokers: &str,
        topics: Topics,
        store_id: Uuid,
        pace: Pace,
    ) -> Result<Self, KafkaError> {
        let mut settings = settings(brokers);
        settings
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("linger.ms", LINGER_MS)
            .set("max.in.flight.requests.per.connection", REQUESTS_IN_FLIGHT)
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("queue.buffering.max.messages", QUEUE_MESSAGES_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KIB_MAX)
            // As Kafka's own clients do, so that all producers agree where a key lies.
            .set("partitioner", "murmur2_random");
        if pace == Pace::OneByOne {
            settings
                .set("batch.num.messages", "1")
                .set("linger.ms", "0");
        }
        Ok(Self {
            producer: settings.create_with_context(Reports)?,
            topics,
            source: message::source(store_id),
        })
    }

    /// The topics that are not there. Blocks for seconds while the brokers are away.
    ///
    /// # Errors
    /// They are.
    pub fn missing_topics(&self) -> Result<Vec<String>, Unreachable> {
        let mut missing = Vec::new();
        for name in self.topics.names() {
            if partitions(self.producer.client(), name)? == 0 {
                missing.push(name.to_owned());
            }
        }
        // What the client has to say meanwhile is logged.
        self.poll();
        Ok(missing)
    }

    /// Lets receipts know what Kafka has reported until now, and returns whether that was
    /// anything.
    pub fn poll(&self) -> bool {
        let mut reported = false;
        loop {
            // It takes one report, which is about many messages, or none.
            let before = self.producer.in_flight_count();
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() >= before {
                return reported;
            }
            reported = true;
        }
    }

    /// Sends those events of a commit that `places` names; `receipt` tells what becomes
    /// of them.
    pub fn send(
        &self,
        row: i64,
        committed: Timestamp,
        events: &[Event<'_>],
        places: impl Iterator<Item = u32>,
        receipt: &Arc<Receipt>,
    ) {
        let time = message::time(committed);
        for place in places {
            let event = &events[place as usize];
            let id = format!("{row}-{place}");
            let mut order = [0; uuid::fmt::Hyphenated::LENGTH];
            let key = match event.key {
                Key::Sku(sku) => sku,
                Key::Order(id) => id.hyphenated().encode_lower(&mut order),
            };
            let of_event = Box::new(Place {
                receipt: Arc::clone(receipt),
                event: place,
            });
            let record = BaseRecord::with_opaque_to(self.topics.name(event.topic), of_event)
                .key(key)
                .payload(event.body)
                .headers(message::headers(&self.source, &id, &time, event));
            if let Err((error, record)) = self.producer.send(record) {
                // It takes nothing any more. What is not sent is not acknowledged.
                let receipt = &record.delivery_opaque.receipt;
                receipt.failed(place, &error);
                receipt.reported();
            }
        }
    }

    /// Gives up what is not acknowledged and ends, elsewhere.
    pub fn close(self) {
        // The threads of the client end in their own time.
        std::thread::spawn(move || {
            self.producer
                .purge(PurgeConfig::default().queue().inflight());
            drop(self);
        });
    }
}
