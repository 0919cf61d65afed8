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

use super::history::{Broken, History, Step};
use super::permits::Permit;
use super::pulse::{Beat, Pulse};
use super::request::WatchRequest;
use super::snapshot::{Snapshot, Sources};
use super::wire;
use super::{MESSAGE_LEVELS_MAX, Watching};
use crate::clock;
use crate::domain::{ServedFrom, StockLevel};
use crate::error::{Error, chain};
use crate::feed::{Changed, Update, Watch};
use crate::proto::watch_stock_response::Event;
use crate::proto::{GoodbyeReason, WatchGoodbye, WatchHeartbeat, WatchStarted, WatchSynced};
use crate::storage::StorageError;
use crate::telemetry::{self, Held};

/// When a watcher should come back after Goodbye, spread over this much so that
/// the streams of an instance do not come back at once.
const RECONNECT_SPREAD_MS: std::ops::Range<u64> = 50..1_000;

/// What the stream does next. What only a beginning or an end needs is boxed:
/// a stream is live for hours.
enum Phase {
    Snapshot(Box<Beginning>),
    /// From begin to end, where nothing may be folded.
    History(Box<History>),
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
        let store = watching.store.clone();
        // What takes the place of another store's levels, and what the ledger is read on
        // from, comes from the primary alone.
        let any_source = !anew && !request.every_change;
        let replica_turns = watching.replica_turns.clone().filter(|_| any_source);
        let sources = Sources {
            store: store.clone(),
            turns: watching.snapshot_turns.clone(),
            replica_turns,
        };
        let snapshot = Snapshot::new(sources, request.targets);
        let phase = if request.every_change {
            let turns = watching.ledger_turns.clone();
            let history = History::new(store, turns, snapshot, request.seen, anew);
            Phase::History(Box::new(history))
        } else {
            if !anew {
                watch.has_seen(&request.seen);
            }
            Phase::Snapshot(Box::new(Beginning { snapshot, anew }))
        };
        let heartbeat = watching.config.heartbeat();
        let started = wire::frame(Event::Started(WatchStarted {
            store_id: store_id.to_string(),
            heartbeat_interval: heartbeat.try_into().ok(),
            server_time: Some(clock::now().into()),
        }));
        Self {
            pulse: Pulse::new(&watching.config, &watching.gate.draining),
            _held: (permit, watching.counters.watches.streams.hold(1)),
            watching,
            watch,
            phase,
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
                return self.say(frame);
            }
            match &mut self.phase {
                Phase::Snapshot(_) => ready!(self.poll_snapshot(cx)),
                Phase::Live | Phase::History(_) => {
                    let frame = ready!(self.poll_live(cx));
                    return self.say(frame);
                }
                Phase::Leaving(_) => {
                    if let Phase::Leaving(why) = std::mem::replace(&mut self.phase, Phase::Ended) {
                        return Poll::Ready(Some(Err((*why).into())));
                    }
                }
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }

    fn say(&mut self, frame: Bytes) -> Poll<Option<Result<Bytes, Status>>> {
        self.pulse.spoke();
        Poll::Ready(Some(Ok(frame)))
    }

    /// Waits for the next page and makes its messages, or goes live. What is due by
    /// the clock comes first, because a slow reader finds every page ready; but a
    /// page is a sign of life, too.
    fn poll_snapshot(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.pulse.poll(cx);
        if let Poll::Ready(beat @ (Beat::Old | Beat::Draining)) = due {
            let goodbye = self.beat(beat);
            self.ready.push_back(goodbye);
            return Poll::Ready(());
        }
        let Phase::Snapshot(beginning) = &mut self.phase else {
            return Poll::Ready(());
        };
        let anew = beginning.anew;
        match beginning.snapshot.poll_page(cx) {
            Poll::Ready(Some(Ok((mut levels, from)))) => {
                if from == ServedFrom::Replica {
                    let (read, below) = self.watch.split_below_seen(levels);
                    levels = read;
                    beginning.snapshot.read_again(below);
                }
                self.send_snapshot(&levels, anew);
            }
            Poll::Ready(Some(Err(error))) => {
                let goodbye = self.fail(&error.into());
                self.ready.push_back(goodbye);
            }
            Poll::Ready(None) => {
                self.phase = Phase::Live;
                self.ready.push_back(synced());
            }
            Poll::Pending => {
                let beat = ready!(due);
                let heartbeat = self.beat(beat);
                self.ready.push_back(heartbeat);
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
                counters.watches.deliveries.add(updates.len() as u64);
                self.ready.push_back(wire::changes(&updates, reset));
            }
        }
    }

    /// Waits for the next thing to say. What is due by the clock comes first, so
    /// that a level which never rests keeps no stream alive for ever; but a change
    /// is a sign of life, too.
    fn poll_live(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match self.pulse.poll(cx) {
            Poll::Pending => self.poll_news(cx),
            Poll::Ready(Beat::Silent) => match self.poll_news(cx) {
                Poll::Ready(frame) => Poll::Ready(frame),
                Poll::Pending => Poll::Ready(self.beat(Beat::Silent)),
            },
            Poll::Ready(beat) => Poll::Ready(self.beat(beat)),
        }
    }

    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match &mut self.phase {
            Phase::History(history) => {
                let step = ready!(history.poll_step(cx, &self.watch));
                Poll::Ready(self.step(step))
            }
            _ => self.poll_changes(cx),
        }
    }

    /// What to say to what came next in the ledger.
    fn step(&mut self, step: Result<Step, Broken>) -> Bytes {
        match step {
            Ok(Step::Send {
                levels,
                reset,
                live,
            }) => {
                let counters = &self.watching.counters;
                counters.watches.deliveries.add(levels.len() as u64);
                let updates = levels.into_iter().map(|level| Arc::new(Update::new(level)));
                let updates: Vec<Arc<Update>> = updates.collect();
                if live {
                    self.sample_lag(&updates);
                }
                wire::changes(&updates, reset)
            }
            Ok(Step::Synced) => synced(),
            Err(error) => self.fail(&error),
        }
    }

    fn poll_changes(&mut self, cx: &Context<'_>) -> Poll<Bytes> {
        let Changed { updates, folded } = ready!(self.watch.poll_changed(cx, MESSAGE_LEVELS_MAX));
        let counters = &self.watching.counters;
        counters.watches.deliveries.add(updates.len() as u64);
        counters.watches.coalesced.add(folded);
        self.sample_lag(&updates);
        Poll::Ready(wire::changes(&updates, false))
    }

    /// How late the oldest of `updates` is, now and then.
    fn sample_lag(&self, updates: &[Arc<Update>]) {
        let sampled = &self.watching.counters.watches.lag;
        if sampled.is_due() {
            let committed = updates.iter().map(|it| it.level.updated.us()).min();
            let lag_us = clock::now().us() - committed.unwrap_or_default();
            let lag = Duration::from_micros(u64::try_from(lag_us).unwrap_or(0));
            sampled.record_time(lag);
        }
    }

    /// What to say to what has become due.
    fn beat(&mut self, beat: Beat) -> Bytes {
        match beat {
            Beat::Silent => wire::frame(Event::Heartbeat(WatchHeartbeat {
                server_time: Some(clock::now().into()),
            })),
            Beat::Old => self.leave(GoodbyeReason::Age, Error::Draining),
            Beat::Draining if self.watching.gate.has_left_store() => {
                self.leave(GoodbyeReason::StoreChanged, Error::Draining)
            }
            Beat::Draining => self.leave(GoodbyeReason::Draining, Error::Draining),
        }
    }

    /// What to say when the stream cannot go on. Thousands of streams meet an outage at once,
    /// and a fault of the store each for itself.
    fn fail(&mut self, error: &Broken) -> Bytes {
        match error {
            Broken::Store(StorageError::Unavailable(_) | StorageError::CommitUnknown(_)) => {
                telemetry::store_unavailable("a watch", error);
            }
            Broken::Store(_) | Broken::Ledger(_) => {
                tracing::error!(error = chain(error), "cannot go on with a watch");
            }
        }
        let why = Error::StoreUnavailable(None);
        self.leave(GoodbyeReason::StoreUnavailable, why)
    }

    /// The last message, after which only a status follows.
    fn leave(&mut self, reason: GoodbyeReason, why: Error) -> Bytes {
        let goodbyes = &self.watching.counters.watches.goodbyes;
        match reason {
            GoodbyeReason::Draining => goodbyes.draining.add(1),
            GoodbyeReason::Age => goodbyes.age.add(1),
            GoodbyeReason::StoreUnavailable => goodbyes.store_unavailable.add(1),
            GoodbyeReason::StoreChanged => goodbyes.store_changed.add(1),
            GoodbyeReason::Unspecified => unreachable!("it is never sent"),
        }
        self.phase = Phase::Leaving(Box::new(why));
        let after = Duration::from_millis(rand::random_range(RECONNECT_SPREAD_MS));
        wire::frame(Event::Goodbye(WatchGoodbye {
            reason: reason.into(),
            reconnect_after: after.try_into().ok(),
        }))
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

fn synced() -> Bytes {
    let server_time = Some(clock::now().into());
    wire::frame(Event::Synced(WatchSynced { server_time }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand streams are a normal load, and what they wait in is mostly this.
    #[test]
    fn a_stream_that_waits_is_small() {
        let bytes = size_of::<Session>();
        assert!(bytes <= 256, "{bytes} bytes");
    }
}
