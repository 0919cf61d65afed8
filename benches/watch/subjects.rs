//! What is measured, and in which order.

use std::fmt;

use clap::ValueEnum;

/// The streams of most cases, and their connections.
pub(crate) const STREAMS: usize = 10_000;
pub(crate) const CONNECTIONS: usize = 100;

/// The streams of the cases about lag, a level each, as many on a connection as above.
pub(crate) const LAG_STREAMS: usize = 1_000;
pub(crate) const LAG_CONNECTIONS: usize = 10;

/// What can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Memory of 10,000 idle streams
    Idle,
    /// One level that always has something newer to 10,000 streams
    Fanout,
    /// From the commit to the reader, 1,000 levels
    Levels,
    /// Orders at full rate while 10,000 streams watch their product
    Hot,
    /// All 10,000 levels to one watcher
    Snapshot,
    /// 10,000 streams come back after a restart
    Storm,
    /// From the commit on one instance to a reader of another one
    Instances,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Idle,
    /// Its floor.
    BareIdle,
    Fanout,
    /// Its floor.
    BareFanout,
    Levels,
    /// The orders of [`Self::Hot`] without anybody who watches.
    HotAlone,
    Hot,
    Snapshot,
    /// The server is asked to end, and says Goodbye.
    Storm,
    /// The server is killed.
    StormKilled,
    Instances,
}

impl Subject {
    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::BareIdle => "bare_idle",
            Self::Fanout => "fanout",
            Self::BareFanout => "bare_fanout",
            Self::Levels => "levels",
            Self::HotAlone => "hot_alone",
            Self::Hot => "hot",
            Self::Snapshot => "snapshot",
            Self::Storm => "storm",
            Self::StormKilled => "storm_killed",
            Self::Instances => "instances",
        }
    }

    /// Whether it is what others are held against.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::BareIdle | Self::BareFanout)
    }

    /// Streams, and connections.
    pub(crate) fn streams(self) -> (usize, usize) {
        match self {
            Self::HotAlone => (0, 0),
            Self::Snapshot => (1, 1),
            Self::Levels | Self::Instances => (LAG_STREAMS, LAG_CONNECTIONS),
            _ => (STREAMS, CONNECTIONS),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One repeat of what is asked for: a floor right beside what is held against it. SQLite
/// has one instance.
pub(crate) fn schedule(only: Option<Case>, has_instances: bool) -> Vec<Subject> {
    let mut all = vec![
        (Case::Idle, Subject::BareIdle),
        (Case::Idle, Subject::Idle),
        (Case::Fanout, Subject::BareFanout),
        (Case::Fanout, Subject::Fanout),
        (Case::Levels, Subject::Levels),
        (Case::Hot, Subject::HotAlone),
        (Case::Hot, Subject::Hot),
        (Case::Snapshot, Subject::Snapshot),
        (Case::Storm, Subject::Storm),
        (Case::Storm, Subject::StormKilled),
    ];
    if has_instances {
        all.push((Case::Instances, Subject::Instances));
    }
    let asked_for = all
        .into_iter()
        .filter(|(case, _)| only.is_none_or(|only| only == *case));
    asked_for.map(|(_, subject)| subject).collect()
}
