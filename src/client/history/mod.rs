//! Audits of watches: whether a history of streams kept every promise of WatchStock.
//!
//! An [`Audit`] is told what one watcher asked for, what came, how each stream
//! ended and when, message by message, and in the end the truth. It holds as
//! much as the watch has levels, however long it runs, and reads no clock: times
//! are what its caller says. Promises to name every violation that the history
//! shows, and none that a server may rightly do. Tests, the bench and the demo
//! use it, and so may anybody who wonders about a deployment: see
//! [`Watch::audited`](super::Watch::audited).
//!
//! ```
//! use std::time::Duration;
//! use stockroom::client::WatchTargets;
//! use stockroom::client::history::{Audit, Fault, Ledger, StreamEnd};
//! # use stockroom::client::proto::{StockLevel, WatchChanges, WatchStarted, WatchStockResponse, WatchSynced};
//! # use stockroom::client::proto::watch_stock_response::Event;
//! # let message = |event| WatchStockResponse { event: Some(event) };
//! # let started = message(Event::Started(WatchStarted { store_id: "s".into(), ..Default::default() }));
//! # let synced = message(Event::Synced(WatchSynced::default()));
//! # let level = |version| StockLevel { sku: "a".into(), location: "main".into(), version, ..Default::default() };
//! # let changes = |version| message(Event::Changes(WatchChanges { levels: vec![level(version)], ..Default::default() }));
//!
//! let targets = WatchTargets::all();
//! let mut audit = Audit::new(&targets);
//! let at = Duration::from_secs;
//! audit.began(at(0), &targets.request("", vec![]));
//! for message in [started, changes(7), synced, changes(6)] {
//!     audit.message(at(1), &message);
//! }
//! audit.ended(at(2), StreamEnd::Reader);
//! let report = audit.finish(at(2), &Ledger::default());
//! assert_eq!(report.examples[0].fault, Fault::Fell { from: 7, to: 6 });
//! ```

mod held;
mod ledger;
mod report;
mod stream;
mod violation;

pub use ledger::Ledger;
pub use report::Report;
pub use violation::{Fault, Value, Violation};

use std::time::Duration;

use self::held::Holdings;
use self::stream::Stream;
use super::proto::watch_stock_response::Event;
use super::proto::{SeenLevel, WatchChanges, WatchStockRequest, WatchStockResponse};
use super::{ClientError, WatchTargets};

/// How much longer than the heartbeat interval a silence may be before it counts:
/// timers, networks and the reader's own machine take their time.
const SILENCE_TOLERANCE: Duration = Duration::from_secs(1);

/// How a stream ended, as its reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// With a status of the server's, which has this reason.
    Status(String),
    /// With OK.
    Ok,
    /// With the connection: killed, cut off, or a proxy in between.
    Lost,
    /// The reader let go of it.
    Reader,
}

impl StreamEnd {
    /// What an error says: only an error with a reason is the server's word.
    pub fn of(error: &ClientError) -> Self {
        if error.reason.is_empty() {
            Self::Lost
        } else {
            Self::Status(error.reason.clone())
        }
    }
}

/// The audit of one watcher over all its streams.
///
/// For each stream call [`began`](Self::began), [`message`](Self::message) for
/// all that came, and [`ended`](Self::ended); then [`finish`](Self::finish).
/// Times count from any moment, the same one for all calls.
#[derive(Debug)]
pub struct Audit {
    holdings: Holdings,
    stream: Option<Stream>,
    tolerance: Duration,
    report: Report,
}

impl Audit {
    /// An audit of a watch of `targets`.
    pub fn new(targets: &WatchTargets) -> Self {
        Self {
            holdings: Holdings::new(targets),
            stream: None,
            tolerance: SILENCE_TOLERANCE,
            report: Report::of_one(),
        }
    }

    /// Keeps every value that comes, 24 bytes each, so that all of them are
    /// compared with the ledger in the end, and not the last ones alone.
    #[must_use]
    pub fn keeping_values(mut self) -> Self {
        self.holdings.keep_values();
        self
    }

    /// How much longer than the heartbeat interval a silence may be; 1 s unless
    /// it is said here.
    #[must_use]
    pub fn tolerating(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// A stream was asked for.
    pub fn began(&mut self, at: Duration, request: &WatchStockRequest) {
        self.ended(at, StreamEnd::Reader);
        self.report.streams += 1;
        self.stream = Some(Stream::new(at));
        self.holdings.expect_store(&request.store_id);
        self.holdings.began(self.report.streams, &request.seen);
    }

    /// A message came.
    pub fn message(&mut self, at: Duration, message: &WatchStockResponse) {
        let Some(stream) = &mut self.stream else {
            debug_assert!(false, "a message comes on a stream");
            return;
        };
        self.report.messages += 1;
        // What later versions of the server say is no violation.
        let Some(event) = &message.event else { return };
        stream.heard(at, self.tolerance, event, &mut self.report);
        match event {
            Event::Started(started) => self.holdings.expect_store(&started.store_id),
            Event::Changes(changes) => {
                for level in &changes.levels {
                    self.holdings.take(level, changes.reset, &mut self.report);
                }
            }
            Event::Synced(_) => self.holdings.synced(&mut self.report),
            Event::Heartbeat(_) | Event::Goodbye(_) => {}
        }
    }

    /// Levels came that were asked for beside the stream.
    pub(super) fn learned(&mut self, changes: &WatchChanges) {
        for level in &changes.levels {
            self.holdings.learn(level, changes.reset);
        }
    }

    /// The reader reads again after it has let messages wait: it was not the
    /// server that was silent until now.
    pub fn reads_again(&mut self, at: Duration) {
        if let Some(stream) = &mut self.stream {
            stream.reads_again(at);
        }
    }

    /// The stream ended. Without a stream this says nothing.
    pub fn ended(&mut self, at: Duration, end: StreamEnd) {
        if let Some(stream) = self.stream.take() {
            stream.ended(at, self.tolerance, end, &mut self.report);
        }
    }

    /// The store of the last stream; empty before the first one.
    pub fn store_id(&self) -> &str {
        self.holdings.store_id()
    }

    /// What a watch that resumes may say it has seen: the last versions that came.
    pub fn seen(&self) -> Vec<SeenLevel> {
        self.holdings.seen()
    }

    /// The version of a level that came last.
    pub fn version(&self, sku: &str, location: &str) -> Option<i64> {
        self.holdings.version(sku, location)
    }

    /// How many levels there are of which the last value has not come.
    pub fn behind(&self, truth: &Ledger) -> usize {
        self.holdings.missing(truth).count()
    }

    /// Whether the watch is synced and has the last value of every level: when a
    /// history can be [finished](Self::finish).
    pub fn caught_up(&self, truth: &Ledger) -> bool {
        let is_synced = self.stream.as_ref().is_some_and(Stream::is_synced);
        is_synced && self.behind(truth) == 0
    }

    /// What has been found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Compares what came with the truth, which must be complete. Call it when
    /// all is quiet, and the watch has [caught up](Self::caught_up) or has had the
    /// time to. A stream may still be open.
    pub fn finish(mut self, at: Duration, truth: &Ledger) -> Report {
        if let Some(stream) = self.stream.take() {
            stream.finish(at, self.tolerance, &mut self.report);
        }
        self.holdings.compare(truth, &mut self.report);
        self.report
    }
}

#[cfg(test)]
mod tests;
