//! One stream from Started to Goodbye, as the body of its HTTP response.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;
use uuid::Uuid;

use super::Watching;
use super::permits::Permit;
use super::pulse::{Beat, Pulse};
use super::request::WatchRequest;
use super::snapshot::Snapshot;
use super::wire;
use crate::clock;
use crate::domain::StockLevel;
use crate::error::{Error, chain};
use crate::feed::{Changed, Watch};
use crate::proto::watch_stock_response::Event;
use crate::proto::{GoodbyeReason, WatchGoodbye, WatchHeartbeat, WatchStarted, WatchSynced};
use crate::telemetry::Held;

/// Levels of one message: about 100 KB.
const MESSAGE_LEVELS_MAX: usize = 1_000;

/// When a watcher should come back after Goodbye, spread over this much so that
/// the streams of an instance do not come back at once.
const RECONNECT_SPREAD_MS: std::ops::Range<u64> = 50..1_000;

/// What the stream does next. What only a beginning or an end needs is boxed:
/// a stream is live for hours.
enum Phase {
    Snapshot(Box<Beginning>),
    Live,
    /// Goodbye has been sent; the status that follows it.
    Leaving(Box<Error>),
    Ended,
}

/// What is forgotten when the snapshot has been sent.
struct Beginning {
    snapshot: Snapshot,
    /// The caller's versions are another store's: each level is sent anew.
    anew: bool,
}

pub(super) struct Session {
    watching: Arc<Watching>,
    watch: Watch,
    phase: Phase,
    /// Messages to send before anything else.
    ready: VecDeque<Bytes>,
    pulse: Pulse,
    /// Its place among the streams, and its share of their count: given back
    /// however it ends.
    _held: (Permit, Held),
}

impl Session {
    pub(super) fn new(
        watching: Arc<Watching>,
        request: WatchRequest,
        store_id: Uuid,
        permit: Permit,
    ) -> Self {
        let anew = request.store_id.is_some_and(|id| id != store_id);
        let watch = watching.feed.watch(&request.targets);
        if !anew {
            watch.has_seen(&request.seen);
        }
        let store = watching.store.clone();
        let snapshot = Snapshot::new(store, request.targets, MESSAGE_LEVELS_MAX);
        let heartbeat = watching.config.heartbeat();
        let started = wire::frame(Event::Started(WatchStarted {
            store_id: store_id.to_string(),
            heartbeat_interval: Some(duration(heartbeat)),
            server_time: Some(clock::now().into()),
        }));
        Self {
            pulse: Pulse::new(&watching.config, &watching.gate.draining),
            _held: (permit, watching.counters.watches.streams.hold(1)),
            watching,
            watch,
            phase: Phase::Snapshot(Box::new(Beginning { snapshot, anew })),
            ready: VecDeque::from([started]),
        }
    }

    /// The next message, or the status that ends the stream, or nothing.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                if self.ready.is_empty() {
                    // A stream that says nothing holds no memory for it.
                    self.ready = VecDeque::new();
                }
                self.pulse.spoke();
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.phase {
                Phase::Snapshot(_) => ready!(self.poll_snapshot(cx)),
                Phase::Live => ready!(self.poll_live(cx)),
                Phase::Leaving(_) => {
                    if let Phase::Leaving(why) = std::mem::replace(&mut self.phase, Phase::Ended) {
                        return Poll::Ready(Some(Err((*why).into())));
                    }
                }
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Waits for the next page and makes its messages, or goes live.
    fn poll_snapshot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Snapshot(beginning) = &mut self.phase else {
            return Poll::Ready(());
        };
        let anew = beginning.anew;
        match beginning.snapshot.poll_page(cx) {
            Poll::Ready(Some(Ok(levels))) => self.send_snapshot(&levels, anew),
            Poll::Ready(Some(Err(error))) => {
                tracing::error!(error = chain(&error), "cannot read a watch's snapshot");
                let why = Error::StoreUnavailable(None);
                self.leave(GoodbyeReason::StoreUnavailable, why);
            }
            Poll::Ready(None) => {
                self.phase = Phase::Live;
                self.ready.push_back(wire::frame(Event::Synced(WatchSynced {
                    server_time: Some(clock::now().into()),
                })));
            }
            Poll::Pending => {
                let beat = ready!(self.pulse.poll(cx));
                self.beat(beat);
            }
        }
        Poll::Ready(())
    }

    /// Sends what is above what the caller has seen, and with `reset` what is
    /// below it: then the store has lost commits.
    fn send_snapshot(&mut self, levels: &[StockLevel], anew: bool) {
        let met = self.watch.meet(levels, anew);
        for (updates, reset) in [(met.reset, true), (met.newer, false)] {
            if !updates.is_empty() {
                let counters = &self.watching.counters;
                counters.watch_deliveries.add(updates.len() as u64);
                self.ready.push_back(wire::changes(&updates, reset));
            }
        }
    }

    /// Waits for the next thing to say. What is due by the clock comes first, so
    /// that a level which never rests keeps no stream alive for ever.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(beat) = self.pulse.poll(cx) {
            if beat != Beat::Silent {
                self.beat(beat);
                return Poll::Ready(());
            }
            if self.poll_changes(cx).is_pending() {
                self.beat(beat);
            }
            return Poll::Ready(());
        }
        self.poll_changes(cx)
    }

    fn poll_changes(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Changed { updates, folded } = ready!(self.watch.poll_changed(cx, MESSAGE_LEVELS_MAX));
        let counters = &self.watching.counters;
        counters.watch_deliveries.add(updates.len() as u64);
        counters.watches.coalesced.add(folded);
        if counters.watches.lag.is_due() {
            let committed = updates.iter().map(|it| it.level.updated.us()).min();
            let lag_us = clock::now().us() - committed.unwrap_or_default();
            let lag = Duration::from_micros(u64::try_from(lag_us).unwrap_or(0));
            counters.watches.lag.record_time(lag);
        }
        self.ready.push_back(wire::changes(&updates, false));
        Poll::Ready(())
    }

    fn beat(&mut self, beat: Beat) {
        match beat {
            Beat::Silent => self
                .ready
                .push_back(wire::frame(Event::Heartbeat(WatchHeartbeat {
                    server_time: Some(clock::now().into()),
                }))),
            Beat::Old => self.leave(GoodbyeReason::Age, Error::Draining),
            Beat::Draining => self.leave(GoodbyeReason::Draining, Error::Draining),
        }
    }

    fn leave(&mut self, reason: GoodbyeReason, why: Error) {
        let goodbyes = &self.watching.counters.watches.goodbyes;
        match reason {
            GoodbyeReason::Draining => goodbyes.draining.add(1),
            GoodbyeReason::Age => goodbyes.age.add(1),
            GoodbyeReason::StoreUnavailable => goodbyes.store_unavailable.add(1),
            GoodbyeReason::Unspecified => unreachable!("it is never sent"),
        }
        let after = Duration::from_millis(rand::random_range(RECONNECT_SPREAD_MS));
        self.ready
            .push_back(wire::frame(Event::Goodbye(WatchGoodbye {
                reason: reason.into(),
                reconnect_after: Some(duration(after)),
            })));
        self.phase = Phase::Leaving(Box::new(why));
    }
}

impl Body for Session {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(ready!(self.poll_next(cx)).map(|next| match next {
            Ok(message) => Ok(Frame::data(message)),
            Err(status) => {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                Ok(Frame::trailers(trailers))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}
