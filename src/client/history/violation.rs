//! What a history can break, in a form that can be counted and read.

use std::fmt;
use std::time::Duration;

/// A value that a level had, as far as a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The number of movements that made it.
    pub version: i64,
    /// Units physically there less those on backorder.
    pub on_hand: i64,
    /// Units promised to orders on hold.
    pub reserved: i64,
}

/// A promise of WatchStock that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The stream on which it was found, counted from 1. The last one for what
    /// was found at the end.
    pub stream: u64,
    /// The level, as `sku@location`; empty when it is about the stream.
    pub level: String,
    /// What was wrong.
    pub fault: Fault,
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A version came that had come before, or that the reader had named as seen.
    Repeated {
        /// The version.
        version: i64,
    },
    /// An old version came after a newer one, without `reset`.
    Fell {
        /// The newer one.
        from: i64,
        /// The old one.
        to: i64,
    },
    /// Versions in between were left out of `EVERY_CHANGE`.
    Skipped {
        /// The last one that came.
        from: i64,
        /// The next one that came.
        to: i64,
    },
    /// A value that is not what the ledger has at its version, or that cannot be.
    WrongValue {
        /// What came.
        sent: Value,
        /// What the ledger has at that version.
        is: Option<Value>,
    },
    /// A version that the ledger does not have.
    NeverCommitted {
        /// The version that came.
        version: i64,
        /// The last one of the ledger.
        last: i64,
    },
    /// The last value has not come.
    LastMissing {
        /// The last version that came; none when nothing came.
        held: Option<i64>,
        /// The last one of the ledger.
        last: i64,
    },
    /// A level came that is not selected and was not named as seen.
    NotSelected,
    /// A level that is selected by name had not come when Synced did.
    SnapshotIncomplete,
    /// Something else than Started came first.
    NotStarted,
    /// Started came again.
    StartedTwice,
    /// Synced came again.
    SyncedTwice,
    /// The stream is open and Synced has not come.
    NotSynced,
    /// A message without levels, or with more than 1,000.
    MessageSize {
        /// How many.
        levels: usize,
    },
    /// Nothing came for longer than the heartbeat interval.
    Silent {
        /// How long.
        silence: Duration,
        /// The interval, as Started has it.
        heartbeat: Duration,
    },
    /// The server ended the stream and had not said Goodbye.
    NoGoodbye {
        /// The reason of the status; `OK` when there was none.
        reason: String,
    },
    /// The server ended the stream with OK.
    EndedWithOk,
    /// Goodbye came without a reason or without a time to come back after.
    GoodbyeUnclear,
    /// A message came after Goodbye.
    AfterGoodbye,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}: ", self.stream)?;
        if !self.level.is_empty() {
            write!(f, "{} ", self.level)?;
        }
        self.fault.fmt(f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated { version } => write!(f, "came at version {version} again"),
            Self::Fell { from, to } => write!(f, "fell from version {from} to {to}"),
            Self::Skipped { from, to } => write!(f, "skipped from version {from} to {to}"),
            Self::WrongValue { sent, is: Some(is) } => write!(f, "came as {sent:?}, is {is:?}"),
            Self::WrongValue { sent, is: None } => write!(f, "came as {sent:?}, which cannot be"),
            Self::NeverCommitted { version, last } => {
                write!(f, "came at version {version}, is at {last}")
            }
            Self::LastMissing {
                held: Some(held),
                last,
            } => write!(f, "came last at version {held}, is at {last}"),
            Self::LastMissing { held: None, last } => write!(f, "never came, is at {last}"),
            Self::NotSelected => write!(f, "came and was not asked for"),
            Self::SnapshotIncomplete => write!(f, "had not come when Synced did"),
            Self::NotStarted => write!(f, "the first message is not Started"),
            Self::StartedTwice => write!(f, "Started came again"),
            Self::SyncedTwice => write!(f, "Synced came again"),
            Self::NotSynced => write!(f, "Synced has not come"),
            Self::MessageSize { levels } => write!(f, "a message has {levels} levels"),
            Self::Silent { silence, heartbeat } => {
                write!(f, "was silent for {silence:?}, promised {heartbeat:?}")
            }
            Self::NoGoodbye { reason } => write!(f, "ended with {reason} and no Goodbye"),
            Self::EndedWithOk => write!(f, "ended with OK"),
            Self::GoodbyeUnclear => write!(f, "Goodbye does not say why or until when"),
            Self::AfterGoodbye => write!(f, "a message came after Goodbye"),
        }
    }
}
