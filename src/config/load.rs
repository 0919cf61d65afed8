//! Merging the sources, checking every value, and reporting all that is wrong.

use std::fmt;

use figment::Figment;
use figment::value::Value;

use super::sources::{DEFAULT, Layer, Sources};
use super::table::{self, Row};
use super::{CacheLevels, Config, LockingStrategy};

/// A configuration, and where each of its values comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; within all bounds.
    pub config: Config,
    pub(super) settings: Vec<Setting>,
}

/// All that is wrong with a configuration.
#[derive(Debug)]
pub struct ConfigErrors(Vec<String>);

/// The value that won for a key.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) row: &'static Row,
    /// Within its bounds: the default where what was given is not.
    pub(super) value: Value,
    pub(super) origin: String,
    refused: bool,
}

/// A rule about several keys.
struct Rule {
    keys: &'static [&'static str],
    holds: fn(&Config) -> bool,
    says: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        keys: &["engine.retry_backoff_ms", "engine.retry_backoff_max_ms"],
        holds: |c| c.engine.retry_backoff_ms <= c.engine.retry_backoff_max_ms,
        says: "the first wait cannot exceed the longest",
    },
    Rule {
        keys: &[
            "watch.streams_per_connection_max",
            "server.concurrent_streams_max",
        ],
        holds: |c| c.watch.streams_per_connection_max < c.server.concurrent_streams_max as usize,
        says: "calls on a connection that is full of watches would wait without an answer",
    },
    Rule {
        keys: &["engine.commits_in_flight_max", "store.url"],
        holds: |c| !c.store.is_sqlite() || c.engine.commits_in_flight_max <= 1,
        says: "SQLite has one writer, so it takes 0 or 1",
    },
    Rule {
        keys: &["locking.strategy", "store.url"],
        holds: |c| !c.store.is_sqlite() || c.locking.strategy == LockingStrategy::Optimistic,
        says: "SQLite has one writer and nobody to lock out, so it takes optimistic",
    },
    Rule {
        keys: &["engine.commits_in_flight_max", "store.pool_max"],
        holds: |c| c.engine.commits_in_flight_max <= c.store.pool_max as usize,
        says: "each commit takes a connection of its own",
    },
    Rule {
        keys: &["store.replicas", "store.url"],
        holds: |c| !c.store.is_sqlite() || c.store.replicas.is_empty(),
        says: "SQLite has no replicas",
    },
    Rule {
        keys: &[
            "store.replica_lag_max_ms",
            "store.replica_check_interval_ms",
        ],
        holds: |c| 2 * c.store.replica_check_interval() <= c.store.replica_lag_max(),
        says: "lag is known by the interval, so its bound is two of them at least",
    },
    Rule {
        keys: &["locking.strategy", "redis.urls"],
        holds: |c| c.redis.is_on() || c.locking.strategy != LockingStrategy::RedisLock,
        says: "the locks are kept in Redis, and none is named",
    },
    Rule {
        keys: &["cache.fast_refusal", "cache.levels", "redis.urls"],
        holds: |c| {
            !c.cache.refuses_fast() || (c.redis.is_on() && c.cache.levels == CacheLevels::Auto)
        },
        says: "there is no cache to refuse on",
    },
];

/// Merges the sources over the defaults and checks the result.
///
/// # Errors
/// The file cannot be read or parsed, a key is unknown, a value has the wrong
/// type or breaks its bound, or values do not fit each other: all of it at once,
/// each with the key, the bound, the value and where it was given.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut problems = Vec::new();
    let layers = sources.layers(&mut problems);
    let merged = layers.into_iter().fold(Figment::new(), Figment::merge);
    let settings: Vec<Setting> = table::rows()
        .map(|row| Setting::check(row, &merged, &mut problems))
        .collect();
    let config = config_of(&settings);
    check_rules(&config, &settings, &mut problems);
    if problems.is_empty() {
        Ok(Loaded { config, settings })
    } else {
        Err(ConfigErrors(problems))
    }
}

impl Setting {
    fn check(row: &'static Row, merged: &Figment, problems: &mut Vec<String>) -> Self {
        let path = row.path();
        let given = merged
            .find_value(&path)
            .expect("the defaults have every row, and no layer replaces a section");
        let origin = merged
            .get_metadata(given.tag())
            .map_or_else(String::new, |metadata| metadata.name.to_string());
        let checked = row.kind.check(&given);
        if checked.is_none() {
            problems.push(format!(
                "{path} must be {}; it is {} ({origin})",
                row.kind.bound(),
                row.kind.show(&given)
            ));
        }
        Self {
            row,
            refused: checked.is_none(),
            value: checked.unwrap_or_else(|| row.kind.default_value()),
            origin,
        }
    }
}

fn config_of(settings: &[Setting]) -> Config {
    let mut layer = Layer::empty("checked");
    for Setting { row, value, .. } in settings {
        layer.insert(row.section, row.name, value.clone());
    }
    Figment::from(layer)
        .extract()
        .expect("a test takes every row to its bounds and back")
}

/// Checks each rule whose keys are all within their own bounds.
fn check_rules(config: &Config, settings: &[Setting], problems: &mut Vec<String>) {
    for rule in RULES {
        let of_rule: Vec<&Setting> = rule
            .keys
            .iter()
            .filter_map(|key| settings.iter().find(|setting| setting.row.path() == *key))
            .collect();
        if of_rule.iter().any(|setting| setting.refused) || (rule.holds)(config) {
            continue;
        }
        let shown = of_rule.iter().map(
            |Setting {
                 row, value, origin, ..
             }| { format!("{} = {} ({origin})", row.path(), row.kind.show(value)) },
        );
        let shown: Vec<String> = shown.collect();
        problems.push(format!("{} do not fit: {}", shown.join(" and "), rule.says));
    }
}

impl Loaded {
    /// Whether nobody has set `section.key`.
    pub fn is_default(&self, key: &str) -> bool {
        self.settings
            .iter()
            .all(|setting| setting.row.path() != key || setting.origin == DEFAULT)
    }
}

impl ConfigErrors {
    /// What is wrong, one message each.
    pub fn messages(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}
