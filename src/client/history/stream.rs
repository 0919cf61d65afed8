//! The form of one stream: what comes first, what comes once, how long it may be
//! silent and how it may end.

use std::time::Duration;

use super::StreamEnd;
use super::report::Report;
use super::violation::Fault;
use crate::client::proto::watch_stock_response::Event;
use crate::client::proto::{GoodbyeReason, WatchGoodbye};

/// Most levels of a message.
const MESSAGE_LEVELS_MAX: usize = 1_000;

/// A stream that has not ended.
#[derive(Debug)]
pub(super) struct Stream {
    /// When the server was heard last, or its reader began to listen.
    heard_at: Duration,
    /// Known once Started has come.
    heartbeat: Option<Duration>,
    started: bool,
    synced: bool,
    goodbye: bool,
}

impl Stream {
    pub(super) fn new(at: Duration) -> Self {
        Self {
            heard_at: at,
            heartbeat: None,
            started: false,
            synced: false,
            goodbye: false,
        }
    }

    pub(super) fn heard(
        &mut self,
        at: Duration,
        tolerance: Duration,
        event: &Event,
        report: &mut Report,
    ) {
        self.check_silence(at, tolerance, report);
        self.heard_at = at;
        if self.goodbye {
            report.violation(Fault::AfterGoodbye);
        }
        let first = !std::mem::replace(&mut self.started, true);
        match event {
            Event::Started(started) => {
                if !first {
                    report.violation(Fault::StartedTwice);
                }
                let heartbeat = started.heartbeat_interval;
                self.heartbeat = heartbeat.and_then(|interval| interval.try_into().ok());
                return;
            }
            Event::Changes(changes) => {
                let levels = changes.levels.len();
                if !(1..=MESSAGE_LEVELS_MAX).contains(&levels) {
                    report.violation(Fault::MessageSize { levels });
                }
            }
            Event::Synced(_) => {
                if std::mem::replace(&mut self.synced, true) {
                    report.violation(Fault::SyncedTwice);
                }
            }
            Event::Heartbeat(_) => {}
            Event::Goodbye(goodbye) => {
                self.goodbye = true;
                report.goodbyes += 1;
                if !is_clear(goodbye) {
                    report.violation(Fault::GoodbyeUnclear);
                }
            }
        }
        if first {
            report.violation(Fault::NotStarted);
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn reads_again(&mut self, at: Duration) {
        self.heard_at = self.heard_at.max(at);
    }

    pub(super) fn ended(
        &self,
        at: Duration,
        tolerance: Duration,
        end: StreamEnd,
        report: &mut Report,
    ) {
        match end {
            // Since when a lost connection has been one, nobody can tell.
            StreamEnd::Lost => return,
            StreamEnd::Reader => {}
            StreamEnd::Status(_) if !self.started => report.refused += 1,
            StreamEnd::Status(_) if self.goodbye => {}
            StreamEnd::Status(reason) => report.violation(Fault::NoGoodbye { reason }),
            StreamEnd::Ok if self.started && !self.goodbye => {
                let reason = "OK".to_owned();
                report.violation(Fault::NoGoodbye { reason });
            }
            StreamEnd::Ok => report.violation(Fault::EndedWithOk),
        }
        self.check_silence(at, tolerance, report);
    }

    /// The history ends, and the stream goes on.
    pub(super) fn finish(&self, at: Duration, tolerance: Duration, report: &mut Report) {
        if self.started && !self.synced && !self.goodbye {
            report.violation(Fault::NotSynced);
        }
        self.check_silence(at, tolerance, report);
    }

    fn check_silence(&self, at: Duration, tolerance: Duration, report: &mut Report) {
        let Some(heartbeat) = self.heartbeat else {
            return;
        };
        let silence = at.saturating_sub(self.heard_at);
        // After Goodbye there is nothing left to be said.
        if !self.goodbye && silence > heartbeat + tolerance {
            report.violation(Fault::Silent { silence, heartbeat });
        }
    }
}

fn is_clear(goodbye: &WatchGoodbye) -> bool {
    goodbye.reason() != GoodbyeReason::Unspecified && goodbye.reconnect_after.is_some()
}
