//! Kafka: the one place that talks to it.
//!
//! Owns the clients and their settings, and how an event becomes a message: a
//! CloudEvent 1.0 in binary mode. Promises order within a key as far as a client can
//! keep it, and that nothing here blocks a runtime. Leaves what to send, and what to do
//! when that fails, to `relay`. Nothing outside this module names `rdkafka`.

mod client;
mod make;
mod message;
mod publisher;
mod reader;
mod topics;

pub use make::{TopicRefused, make_topics};
pub use publisher::{Fate, Pace, Publisher, Receipt};
pub use reader::{Reader, Received, Start};
pub use topics::{Topics, Unreachable};

/// Kafka's client could not be made, or would not take something. Passing: what failed
/// is tried again.
#[derive(Debug, thiserror::Error)]
#[error("kafka: {0}")]
pub struct KafkaError(#[from] rdkafka::error::KafkaError);
