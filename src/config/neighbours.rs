//! The keys of systems beside the database: Redis, what is kept in it, and Kafka.

use serde::Deserialize;

use super::choices::{CacheLevels, Switch};
use super::sections::{OFF, is_address};
use super::store_url::{is_redis_url, without_password};
use super::table::{Kind, Row, Section, section};

section! { "redis"
    /// The Redis that cache and locks share.
    pub struct RedisConfig {
        /// Redis: one server, or some of the servers of a Redis Cluster; in variables and flags separated by commas.
        ///
        /// None: there is no cache, and nothing needs Redis.
        urls: Vec<String> = List {
            max: 64,
            bound: "redis://… or redis-cluster://…",
            accepts: is_redis_url,
            shown: without_password,
        },
        /// Time that Redis has for an answer; after it there is none, and the database is asked.
        ///
        /// A hundred times what it takes, and little beside a caller's patience.
        timeout_ms: u64 = Int { default: 50, min: 1, max: 10_000, unit: "ms" },
        /// Failures in a row after which Redis is left alone for a while; a broken connection is enough by itself. Questions that go to a cluster together count as one.
        ///
        /// One may be chance, and more than three would be felt by everyone.
        breaker_failures_max: u32 = Int { default: 3, min: 1, max: 1_000, unit: "answers" },
        /// Time between attempts to reach a Redis that is not asked any more.
        ///
        /// Callers do without meanwhile and wait for nothing; a second of that is no loss.
        breaker_pause_ms: u64 = Int { default: 1_000, min: 10, max: 600_000, unit: "ms" },
    }
}

section! { "cache"
    /// Stock levels in Redis, for reads that name a `min_version`.
    #[derive(Debug)]
    pub struct CacheConfig {
        /// Whether levels are cached; `auto` does wherever `redis.urls` names a Redis.
        ///
        /// A Redis that is there for locks alone need not keep levels too.
        levels: CacheLevels = Choice { default: "auto", choices: &["auto", "off"] },
        /// Life of a level in the cache.
        ///
        /// Bounds how old a level can be when the write that follows each commit was lost.
        ttl_ms: u64 = Int { default: 30_000, min: 10, max: 86_400_000, unit: "ms" },
        /// Levels that may wait to be written to the cache; one more is left out.
        ///
        /// What changes while Redis is away for a while, at 300 bytes each.
        writes_max: usize = Int { default: 65_536, min: 1, max: 10_000_000, unit: "levels" },
        /// Whether orders may be refused on a cached level that has not enough; none is ever accepted on one.
        ///
        /// Keeps the floods after a sell-out out of the engine's queue. Off, because a refusal may then be as old as the cache.
        fast_refusal: Switch = Choice { default: "false", choices: &["true", "false"] },
    }
}

section! { "events"
    /// What other systems are told through Apache Kafka.
    #[derive(Debug)]
    pub struct EventsConfig {
        /// Kafka's brokers to begin with, `HOST:PORT,…`; `off` tells nobody, and writes no events. The same for all instances of a store.
        ///
        /// Kafka is one more system to run, and none is needed.
        brokers: String = Text {
            default: "off",
            bound: "HOST:PORT,… or off",
            accepts: is_brokers_or_off,
            shown: str::to_owned,
        },
        /// What the names of topics begin with, such as `shop.`; may be empty.
        ///
        /// Nothing, so that topics are called as they are documented. Stores that share a Kafka need one each.
        topic_prefix: String = Text {
            default: "",
            bound: "at most 128 of A-Z a-z 0-9 . _ -",
            accepts: is_topic_prefix,
            shown: str::to_owned,
        },
        /// Whether watchers hear of other instances' changes through Kafka too; only where there are brokers.
        ///
        /// A change arrives by whichever way is fastest; reading it from Kafka costs a microsecond or two.
        feed: Switch = Choice { default: "true", choices: &["true", "false"] },
        /// Commits whose events may be on their way to Kafka at a time.
        ///
        /// Two seconds of commits at full rate: more does not make a broker faster.
        relay_commits_max: usize = Int { default: 256, min: 1, max: 10_000, unit: "commits" },
        /// Bytes of events that may be on their way to Kafka at a time; a larger commit goes alone.
        ///
        /// Bounds memory when commits are wide, at more than a second's worth of the full rate.
        relay_bytes_max: usize = Int {
            default: 16 * 1_024 * 1_024, min: 64 * 1_024, max: 1_024 * 1_024 * 1_024, unit: "bytes"
        },
        /// Interval at which the outbox is looked at for commits of other instances; its own wake the relay at once.
        ///
        /// A tenth of the second within which people expect to see a change, for a query that finds nothing.
        relay_poll_ms: u64 = Int { default: 100, min: 1, max: 60_000, unit: "ms" },
        /// Time without an acknowledgement from Kafka after which the relay connects anew and begins again.
        ///
        /// The client waits out restarts and frozen brokers by itself; this is for what it cannot.
        ack_timeout_ms: u64 = Int { default: 60_000, min: 100, max: 3_600_000, unit: "ms" },
        /// Interval at which events that Kafka refused are offered again.
        ///
        /// It takes people to change a topic's settings, and each attempt sends one by one for a while.
        refused_retry_ms: u64 = Int { default: 60_000, min: 100, max: 3_600_000, unit: "ms" },
        /// Time that the relay gets to send what is left when the server ends.
        ///
        /// What is not sent stays in the outbox, for the next instance.
        drain_timeout_ms: u64 = Int { default: 2_000, min: 0, max: 60_000, unit: "ms" },
    }
}

fn is_brokers_or_off(text: &str) -> bool {
    text == OFF || text.split(',').all(is_address)
}

/// Kafka takes names of 249 characters, of which the longest of ours needs few.
fn is_topic_prefix(text: &str) -> bool {
    text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
