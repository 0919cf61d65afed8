//! Configuration: defaults < TOML file < `STOCKROOM_…` environment < flags.
//!
//! Owns every key with its default, its bounds and the reason for both; each is
//! written once, in [`sections`] or [`neighbours`], and that serves the structs, the checks, what
//! `stockroom config` prints and the README's table. Promises that a [`Config`]
//! that was loaded is within all bounds, and that whatever is wrong with a
//! configuration is reported at once. Touches no global state: the environment
//! and the flags are handed in. Leaves what the values mean to those who use them.

mod choices;
mod load;
mod meaning;
mod neighbours;
mod sections;
mod show;
mod sources;
mod store_url;
mod table;
#[cfg(test)]
mod tests;

pub use choices::{CacheLevels, LockingStrategy, LogFormat, MigrateAtStart, Switch};
pub use load::{ConfigErrors, Loaded, load};
pub use neighbours::{CacheConfig, EventsConfig, RedisConfig};
pub use sections::{
    EngineConfig, HoldsConfig, HttpConfig, LockingConfig, LogConfig, ServerConfig, StoreConfig,
    WatchConfig,
};
pub use show::markdown_table;
pub use sources::{FILE_VARIABLE, Flag, Sources};

use serde::Deserialize;

/// The file that is read from the working directory when no other is named.
pub const DEFAULT_FILE: &str = "stockroom.toml";

/// Everything that can be set, one field a section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How callers reach the service and how long it lets them wait.
    pub server: ServerConfig,
    /// The port of metrics and probes.
    pub http: HttpConfig,
    /// Where stock is kept.
    pub store: StoreConfig,
    /// How writes queue, batch and retry.
    pub engine: EngineConfig,
    /// Orders that reserve before they take.
    pub holds: HoldsConfig,
    /// How commits keep out of each other's way.
    pub locking: LockingConfig,
    /// What other systems are told through Apache Kafka.
    pub events: EventsConfig,
    /// The Redis that cache and locks share.
    pub redis: RedisConfig,
    /// Stock levels in Redis.
    pub cache: CacheConfig,
    /// Streams of changes.
    pub watch: WatchConfig,
    /// What the program says about itself.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        load(&Sources::default())
            .expect("no source is given, and a test checks the defaults")
            .config
    }
}
