//! A watch that outlives its connections.
//!
//! Owns one stream at a time and what was seen on all of them. Promises that
//! the versions of a level strictly rise, except where the server says reset,
//! and that no end of a stream loses a last value: the next stream begins from
//! the last versions seen. A stream that is silent for twice the heartbeat
//! counts as ended.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, vec};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tonic::{Code, Streaming};

use super::history::{Audit, StreamEnd};
use super::proto::watch_stock_response::Event;
use super::proto::{GoodbyeReason, StockLevel, WatchStarted, WatchStockResponse, WatchSynced};
use super::retry::backoff;
use super::seen::Seen;
use super::unheard::Unheard;
use super::{Client, ClientError, Lane, WatchEvent, WatchTargets};
use crate::error::Reason;

/// Longest wait between two attempts to reach the server.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to say how long it may be silent.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// And for each level that the request names. A server takes in requests of many levels one
/// after the other, and all of its watchers may come at once when it was started anew. With
/// 100,000 levels it is a minute in all, as long as they may be on their way by default.
const START_LEVEL_TIMEOUT: Duration = Duration::from_micros(500);

/// Below this a busy machine would look like a dead one.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// A watch on stock levels; see [`Client::watch`].
///
/// [`levels`](Self::levels) is the stream that most people want: levels as they
/// change, across lost connections, restarts and other instances, each newer than
/// the one before it. [`next`](Self::next) tells besides what happens to the
/// connection. Both go on from where the other stopped.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    targets: WatchTargets,
    seen: Seen,
    link: Link,
    /// What the stream is on; none before the first one.
    lane: Option<Arc<Lane>>,
    /// What the next one shall be on, unless on any.
    renewed: Option<Arc<Lane>>,
    /// What the stream did not send and is asked for before it is read on.
    unheard: Option<Unheard>,
    /// When to begin the next stream, unless at once.
    resume_at: Option<Instant>,
    /// The longest silence that is not an end.
    silence_max: Duration,
    /// When the server was heard last, or the stream was asked for.
    heard_at: Instant,
    /// Whether somebody waits, or waited and let go, since then. If nobody did,
    /// the silence was the caller's.
    waits: bool,
    /// Starts over when a stream gets as far as Synced.
    backoff: ExponentialBackoff,
    /// What has come and has not been told, and whether it came with `reset`.
    ready: (vec::IntoIter<StockLevel>, bool),
    /// Checks all that comes, if it is asked for.
    audit: Option<Box<(Audit, Instant)>>,
}

/// The stream, if there is one.
enum Link {
    /// Between two streams.
    Down,
    /// Kept, so that a caller who lets go and asks again does not begin again.
    Opening(BoxFuture<'static, Result<Streaming<WatchStockResponse>, ClientError>>),
    Up(Box<Streaming<WatchStockResponse>>),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::Opening(_) => "Opening",
            Self::Up(_) => "Up",
        })
    }
}

impl Watch {
    pub(super) fn new(client: Client, targets: WatchTargets) -> Self {
        Self {
            client,
            seen: Seen::new(&targets),
            targets,
            link: Link::Down,
            lane: None,
            renewed: None,
            unheard: None,
            resume_at: None,
            silence_max: START_TIMEOUT,
            heard_at: Instant::now(),
            waits: false,
            backoff: backoff(BACKOFF_MAX),
            ready: (Vec::new().into_iter(), false),
            audit: None,
        }
    }

    /// Checks from now on that the server keeps its promises; see [`Watch::audit`].
    /// Costs memory for each level, and a few look-ups for each that comes.
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.audit = Some(Box::new((Audit::new(&self.targets), Instant::now())));
        self
    }

    /// What the audit found so far; none unless [`Watch::audited`].
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref().map(|audit| &audit.0)
    }

    /// Ends the watch and takes its audit, to [finish](Audit::finish) it, and the
    /// time that it is.
    pub fn into_audit(self) -> Option<(Audit, Duration)> {
        let (audit, begun) = *self.audit?;
        Some((audit, begun.elapsed()))
    }

    /// The levels as they change: first what there is, then every change, or the
    /// latest of several. The version of a level is higher each time, except when
    /// the store itself fell back, which [`WatchEvent::Changes`] tells: whoever
    /// keeps the last value of each level is right. Ends after an error.
    pub fn levels(&mut self) -> BoxStream<'_, Result<StockLevel, ClientError>> {
        let levels = stream::unfold(Some(self), |watch| async {
            let watch = watch?;
            let level = watch.next_level().await;
            let watch = level.is_ok().then_some(watch);
            Some((level, watch))
        });
        levels.boxed()
    }

    /// Waits for the next level of [`Watch::levels`]. May be dropped while it
    /// waits; nothing is lost.
    ///
    /// # Errors
    /// The server refuses the watch, and would refuse it again.
    pub async fn next_level(&mut self) -> Result<StockLevel, ClientError> {
        loop {
            if let Some(level) = self.ready.0.next() {
                return Ok(level);
            }
            if let WatchEvent::Changes { levels, reset } = self.next().await? {
                self.ready = (levels.into_iter(), reset);
            }
        }
    }

    /// Waits for the next event. May be dropped while it waits; nothing is lost.
    ///
    /// # Errors
    /// The server refuses the watch, and would refuse it again.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        let (ready, reset) = &mut self.ready;
        if ready.len() > 0 {
            return Ok(WatchEvent::Changes {
                levels: ready.collect(),
                reset: *reset,
            });
        }
        loop {
            let received = match self.unheard {
                Some(_) => self.learn().await,
                None => self.receive().await,
            };
            let error = match received {
                Ok(message) => match self.take(message) {
                    Some(event) => return Ok(event),
                    None => continue,
                },
                Err(error) => error,
            };
            self.ended(StreamEnd::of(&error));
            if !error.retryable() && !self.can_ask_less(&error) {
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
        if let Link::Down = self.link {
            self.open();
        } else if !self.waits {
            self.heard_at = Instant::now();
            if let Some(audit) = &mut self.audit {
                audit.0.reads_again(audit.1.elapsed());
            }
        }
        self.waits = true;
        // Counted from when the server was heard, so that a caller who drops
        // this future and asks again does not put the end off.
        let silent_at = self.heard_at + self.silence_max;
        let received = match timeout_at(silent_at, self.message()).await {
            Ok(received) => received,
            Err(_) => {
                self.ended(StreamEnd::Reader);
                self.leave_lane();
                let silence = format!("nothing heard for {:?}", self.silence_max);
                Err(ClientError::local(Code::Unavailable, silence))
            }
        };
        self.heard_at = Instant::now();
        self.waits = false;
        if let (Some(audit), Ok(message)) = (&mut self.audit, &received) {
            audit.0.message(audit.1.elapsed(), message);
        }
        received
    }

    /// Begins the next stream.
    fn open(&mut self) {
        let seen = self.seen.levels();
        let request = self.targets.request(self.seen.store_id(), seen);
        if let Some(audit) = &mut self.audit {
            audit.0.began(audit.1.elapsed(), &request);
        }
        let lane = self.renewed.take();
        let lane = lane.unwrap_or_else(|| self.client.lane());
        let mut inventory = lane.inventory.clone();
        self.lane = Some(lane);
        self.silence_max = start_timeout(request.selectors.len() + request.seen.len());
        let opening = async move { Ok(inventory.watch_stock(request).await?.into_inner()) };
        self.link = Link::Opening(opening.boxed());
        self.heard_at = Instant::now();
    }

    /// The next of what the stream did not send, and in the end that it is synced.
    async fn learn(&mut self) -> Result<WatchStockResponse, ClientError> {
        let next = match &mut self.unheard {
            Some(unheard) => unheard.next().await,
            None => None,
        };
        if let Some(audit) = &mut self.audit {
            audit.0.reads_again(audit.1.elapsed());
            if let Some(Ok(changes)) = &next {
                audit.0.learned(changes);
            }
        }
        let event = match next {
            Some(Ok(changes)) => Event::Changes(changes),
            Some(Err(error)) => {
                // Begun anew, all of it is asked for again. It is not the stream that failed.
                self.ended(StreamEnd::Reader);
                if error.is_silence() {
                    self.leave_lane();
                }
                return Err(error);
            }
            None => {
                self.unheard = None;
                Event::Synced(WatchSynced::default())
            }
        };
        Ok(WatchStockResponse { event: Some(event) })
    }

    async fn message(&mut self) -> Result<WatchStockResponse, ClientError> {
        if let Link::Opening(opening) = &mut self.link {
            self.link = Link::Up(Box::new(opening.await?));
        }
        let message = match &mut self.link {
            Link::Up(stream) => stream.message().await?,
            _ => None,
        };
        message.ok_or_else(|| {
            self.ended(StreamEnd::Ok);
            ClientError::local(Code::Unavailable, "the stream ended without a status")
        })
    }

    /// Whether the request was larger than the server takes, or named more levels, and the
    /// next one is smaller because it names nothing that was seen.
    fn can_ask_less(&mut self, error: &ClientError) -> bool {
        // No reason comes with the first, because it is the transport that says so. Where
        // every change is wanted, those of the meantime would be left out.
        let is_too_large = (error.code == Code::OutOfRange && error.reason.is_empty())
            || error.has_reason(Reason::TooManyWatches);
        is_too_large && !self.targets.wants_every_change() && self.seen.name_none()
    }

    /// The next stream shall be on another connection.
    fn leave_lane(&mut self) {
        let lane = self.lane.as_ref();
        self.renewed = lane.map(|lane| self.client.renew(lane));
    }

    /// There is no stream any more.
    fn ended(&mut self, end: StreamEnd) {
        (self.link, self.unheard) = (Link::Down, None);
        if let Some(audit) = &mut self.audit {
            audit.0.ended(audit.1.elapsed(), end);
        }
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
                let unheard = self.seen.unheard();
                if let Some(lane) = self.lane.as_ref().filter(|_| !unheard.is_empty()) {
                    let store_id = self.seen.store_id();
                    self.unheard = Some(Unheard::ask(&lane.inventory, store_id, &unheard));
                    return None;
                }
                self.backoff = backoff(BACKOFF_MAX);
                WatchEvent::Synced
            }
            Event::Heartbeat(_) => WatchEvent::Heartbeat,
            Event::Goodbye(goodbye) => {
                let reconnect_after = goodbye.reconnect_after.map_or(Duration::ZERO, duration);
                self.resume_at = Some(Instant::now() + reconnect_after);
                // On this connection the next stream would come to the same instance.
                if goodbye.reason() == GoodbyeReason::Age {
                    self.leave_lane();
                }
                // Only the status follows, and it says no more than this did.
                self.ended(StreamEnd::Reader);
                WatchEvent::Goodbye {
                    reason: goodbye.reason(),
                    reconnect_after,
                }
            }
        })
    }
}

/// How long a server may take to begin a stream whose request names so many levels.
fn start_timeout(named: usize) -> Duration {
    START_TIMEOUT + START_LEVEL_TIMEOUT * u32::try_from(named).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_the_more_time_to_begin_the_more_levels_are_named() {
        let timeouts = [0, 2, 100_000].map(|named| start_timeout(named).as_millis());
        assert_eq!(timeouts, [10_000, 10_001, 60_000]);
    }
}
