//! What keys that take a word may be set to.

use serde::Deserialize;

/// How a level is guarded; the files under `src/engine/locking` say how each works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockingStrategy {
    /// Nothing is locked; a version that moved on undoes the batch.
    Optimistic,
    /// Levels are locked before they are read.
    Pessimistic,
    /// The database subtracts, wherever the level stands.
    Atomic,
    /// Levels are locked in Redis; the version decides all the same.
    RedisLock,
}

/// Whether levels are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheLevels {
    /// Wherever there is a Redis.
    Auto,
    /// Never.
    Off,
}

/// Whether `serve` migrates the schema first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MigrateAtStart {
    /// On SQLite, not on PostgreSQL.
    #[serde(rename = "auto")]
    Auto,
    /// On either.
    #[serde(rename = "true")]
    Always,
    /// On neither.
    #[serde(rename = "false")]
    Never,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Switch {
    /// It is.
    #[serde(rename = "true")]
    On,
    /// It is not.
    #[serde(rename = "false")]
    Off,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, as JSON elsewhere.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}
