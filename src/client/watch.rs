//! A watch that outlives its connections.
//!
//! Owns one stream at a time and what was seen on all of them. Promises that
//! the versions of a level strictly rise, except where the server says reset,
//! and that no end of a stream loses a last value: the next stream begins from
//! the last versions seen. A stream that is silent for twice the heartbeat
//! counts as ended.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tonic::{Code, Streaming};

use super::proto::watch_stock_response::Event;
use super::proto::{GoodbyeReason, StockLevel, WatchStarted, WatchStockResponse};
use super::retry::backoff;
use super::seen::Seen;
use super::{Client, ClientError, WatchTargets};

/// Longest wait between two attempts to reach the server.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to say how long it may be silent.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Below this a busy machine would look like a dead one.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A stream began, the first one or after an interruption.
    Started {
        /// The store that the versions belong to.
        store_id: String,
    },
    /// Levels that are newer than what was told before; at least one.
    Changes {
        /// The levels.
        levels: Vec<StockLevel>,
        /// The store fell back: forget what you know of these levels. The only
        /// time a version may fall.
        reset: bool,
    },
    /// Everything that happened before the stream began has been told.
    Synced,
    /// Nothing happened for a while.
    Heartbeat,
    /// The server ends the stream; the watch goes on by itself.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
        /// When the watch connects again.
        reconnect_after: Duration,
    },
    /// The stream broke or could not begin; the watch goes on by itself.
    Interrupted {
        /// Why.
        error: ClientError,
        /// When the watch connects again.
        reconnect_after: Duration,
    },
}

/// A watch on stock levels; see [`Client::watch`].
#[derive(Debug)]
pub struct Watch {
    client: Client,
    targets: WatchTargets,
    seen: Seen,
    /// None between two streams.
    stream: Option<Streaming<WatchStockResponse>>,
    /// When to begin the next stream, unless at once.
    resume_at: Option<Instant>,
    /// The longest silence that is not an end.
    silence_max: Duration,
    /// When the server was heard last, or the stream was asked for.
    heard_at: Instant,
    /// Starts over when a stream gets as far as Synced.
    backoff: ExponentialBackoff,
}

impl Watch {
    pub(super) fn new(client: Client, targets: WatchTargets) -> Self {
        Self {
            client,
            targets,
            seen: Seen::default(),
            stream: None,
            resume_at: None,
            silence_max: START_TIMEOUT,
            heard_at: Instant::now(),
            backoff: backoff(BACKOFF_MAX),
        }
    }

    /// Waits for the next event. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    /// The server refuses the watch, and would refuse it again.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            let error = match self.receive().await {
                Ok(message) => match self.take(message) {
                    Some(event) => return Ok(event),
                    None => continue,
                },
                Err(error) => error,
            };
            self.stream = None;
            if !error.retryable() {
                return Err(error);
            }
            // The series has no end.
            let wait = self.backoff.next().unwrap_or(BACKOFF_MAX);
            let reconnect_after = error.retry_after.unwrap_or_default() + jitter(wait);
            self.resume_at = Some(Instant::now() + reconnect_after);
            return Ok(WatchEvent::Interrupted {
                error,
                reconnect_after,
            });
        }
    }

    /// Levels that the server sent although a version as high had been sent
    /// before. They are not passed on. A server that keeps its promises sends none.
    pub fn repeats(&self) -> u64 {
        self.seen.repeats()
    }

    /// The next message of the stream, which is opened first if there is none.
    async fn receive(&mut self) -> Result<WatchStockResponse, ClientError> {
        if let Some(resume_at) = self.resume_at {
            sleep_until(resume_at).await;
            self.resume_at = None;
        }
        if self.stream.is_none() {
            self.silence_max = START_TIMEOUT;
            self.heard_at = Instant::now();
        }
        let next = async {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => none.insert(open(&self.client, &self.targets, &self.seen).await?),
            };
            stream.message().await?.ok_or_else(|| {
                ClientError::local(Code::Unavailable, "the stream ended without a status")
            })
        };
        // Counted from when the server was heard, so that a caller who drops
        // this future and asks again does not put the end off.
        let silent_at = self.heard_at + self.silence_max;
        let received = timeout_at(silent_at, next).await.unwrap_or_else(|_| {
            let silence = format!("nothing heard for {:?}", self.silence_max);
            Err(ClientError::local(Code::Unavailable, silence))
        });
        self.heard_at = Instant::now();
        received
    }

    /// Turns a message into an event; None when it has no news, or none that this client knows.
    fn take(&mut self, message: WatchStockResponse) -> Option<WatchEvent> {
        Some(match message.event? {
            Event::Started(started) => {
                self.silence_max = silence_max(&started);
                self.seen.started(started.store_id.clone());
                WatchEvent::Started {
                    store_id: started.store_id,
                }
            }
            Event::Changes(changes) => {
                let levels = self.seen.news(changes.levels, changes.reset);
                if levels.is_empty() {
                    return None;
                }
                WatchEvent::Changes {
                    levels,
                    reset: changes.reset,
                }
            }
            Event::Synced(_) => {
                self.backoff = backoff(BACKOFF_MAX);
                WatchEvent::Synced
            }
            Event::Heartbeat(_) => WatchEvent::Heartbeat,
            Event::Goodbye(goodbye) => {
                let reconnect_after = goodbye.reconnect_after.map_or(Duration::ZERO, duration);
                self.resume_at = Some(Instant::now() + reconnect_after);
                // Only the status follows, and it says no more than this did.
                self.stream = None;
                WatchEvent::Goodbye {
                    reason: goodbye.reason(),
                    reconnect_after,
                }
            }
        })
    }
}

async fn open(
    client: &Client,
    targets: &WatchTargets,
    seen: &Seen,
) -> Result<Streaming<WatchStockResponse>, ClientError> {
    let request = targets.request(seen.store_id(), seen.levels());
    let mut inventory = client.lane().inventory.clone();
    Ok(inventory.watch_stock(request).await?.into_inner())
}

/// Twice the heartbeat: one may be late, two are missing.
fn silence_max(started: &WatchStarted) -> Duration {
    match started.heartbeat_interval {
        Some(heartbeat) => (duration(heartbeat) * 2).max(SILENCE_MIN),
        None => START_TIMEOUT,
    }
}

/// A negative duration makes no sense here and counts as none.
fn duration(duration: prost_types::Duration) -> Duration {
    duration.try_into().unwrap_or_default()
}
