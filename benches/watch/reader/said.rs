//! What the bench and its reader say to each other: a word a line one way, a JSON
//! object a line the other way.

use serde::{Deserialize, Serialize};

/// What a reader has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The server.
    pub(crate) url: String,
    pub(crate) connections: usize,
    pub(crate) work: Work,
}

/// Which streams it opens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Work {
    /// So many, spread evenly over the connections and over the first products, one
    /// level each, until it is told to finish.
    Watch {
        streams: usize,
        levels: usize,
        keep: Keep,
    },
    /// One of all levels, closed when it is synced, so many times; then once more when
    /// it is told to finish, to be checked.
    Snapshots { times: usize },
}

/// How much of what came is kept for the end. All of it is checked when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keep {
    /// The last value of each level: for floods, where keeping all of them took a fifth of
    /// the reader's time.
    LastValues,
    /// All values, which the ledger must have had.
    AllValues,
    /// When they came, too, so that the lag of every version is known, of those folded
    /// away too, once the ledger is.
    Arrivals,
}

/// What a reader is told, as the line that says so.
pub(crate) mod told {
    /// Count from now on. Nothing is answered.
    pub(crate) const BEGIN: &str = "begin";
    /// Say what came since; [`super::Said::Window`] is the answer.
    pub(crate) const END: &str = "end";
    /// Wait until the last values have come and check everything;
    /// [`super::Said::Finished`] is the answer, and the last one. A file with the
    /// truth may follow.
    pub(crate) const FINISH: &str = "finish";
}

/// What a reader says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// All streams are synced, again if they have been before.
    Synced {
        /// When the last one was, in microseconds of 1970.
        at_us: i64,
    },
    /// What came between `begin` and `end`.
    Window(Window),
    /// The snapshots, each in milliseconds, from the request to Synced, and its levels.
    Snapshots { ms: Vec<f64>, levels: usize },
    /// The end.
    Finished(Finished),
}

/// What came in a stretch of time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    /// Of the stream that got the fewest.
    pub(crate) messages_least: u64,
    /// Of the stream that got the most.
    pub(crate) messages_most: u64,
    /// Bytes of a message with levels.
    pub(crate) message_bytes: usize,
    /// How old the values were that came; none when none came.
    pub(crate) age: Option<Lag>,
}

/// What was found in the end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Streams that were asked for, reconnects included.
    pub(crate) streams: u64,
    pub(crate) goodbyes: u64,
    /// Streams that ended although they were synced.
    pub(crate) ended: u64,
    /// How the first streams ended, synced or not.
    pub(crate) ends: Vec<String>,
    /// Broken promises.
    pub(crate) violations: u64,
    /// The first of them, in words.
    pub(crate) examples: Vec<String>,
    /// From the commit of each version to the arrival of that version or a later one;
    /// none unless it was traced.
    pub(crate) lag: Option<Lag>,
}

/// A distribution of times in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Lag {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p99_9_ms: f64,
    pub(crate) max_ms: f64,
}
