//! Every key: what it means, its default and why, its bounds.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::store_url::{is_postgres_url, is_redis_url, is_store_url, without_password};
use super::table::{Kind, Row, Section, section};
use crate::domain::NewOrder;

/// A queue or a batch smaller than the largest order could never take it.
const LINES_MIN: u64 = NewOrder::LINES_MAX as u64;

/// What switches off what a text would configure.
pub(super) const OFF: &str = "off";

section! { "server"
    /// How callers reach the service and how long it lets them wait.
    #[derive(Debug)]
    pub struct ServerConfig {
        /// Address to serve gRPC on; port 0 lets the system choose.
        ///
        /// Loopback, because whoever reaches the port may change stock; 50051 is the port
        /// that gRPC examples and tools use.
        listen: String = Text {
            default: "127.0.0.1:50051",
            bound: "HOST:PORT",
            accepts: is_address,
            shown: str::to_owned,
        },
        /// Time that calls under way get to end after SIGTERM or SIGINT.
        ///
        /// As long as a call may take, and well inside the 30 s after which orchestrators kill.
        drain_timeout_ms: u64 = Int { default: 10_000, min: 0, max: 600_000, unit: "ms" },
        /// Time after which a call (not a watch) is answered `DEADLINE_EXCEEDED`.
        ///
        /// Retries of a contended order end after 3 s by default, so only a sick database gets here.
        request_timeout_ms: u64 = Int { default: 10_000, min: 1, max: 600_000, unit: "ms" },
        /// Threads that serve calls; 0 means one fewer than there are cores, at least one.
        ///
        /// Commits have a thread of their own, and an embedded or local database wants a core too:
        /// with one thread more, two cores took 6 % fewer orders.
        worker_threads: usize = Int { default: 0, min: 0, max: 1_024, unit: "threads" },
        /// Calls and watches open at a time on one connection.
        ///
        /// HTTP/2 leaves it unbounded, which invites floods of streams; 1,024 calls in flight
        /// are more than one connection can keep busy.
        concurrent_streams_max: u32 = Int { default: 1_024, min: 1, max: 1_000_000, unit: "streams" },
        /// Largest request.
        ///
        /// gRPC's customary limit; an order of 1,000 lines with the longest names takes 140 KiB.
        message_bytes_max: usize = Int {
            default: 4 * 1_024 * 1_024, min: 64 * 1_024, max: 256 * 1_024 * 1_024, unit: "bytes"
        },
        /// Silence on a connection after which it is pinged.
        ///
        /// Without pings a dead watcher would live until TCP gives up, a quarter of an hour.
        keepalive_interval_ms: u64 = Int { default: 30_000, min: 100, max: 3_600_000, unit: "ms" },
        /// Time in which a ping must be answered before the connection is closed.
        ///
        /// Long enough for a paused laptop or a slow mobile network.
        keepalive_timeout_ms: u64 = Int { default: 10_000, min: 100, max: 600_000, unit: "ms" },
    }
}

section! { "http"
    /// The port of metrics and probes.
    #[derive(Debug)]
    pub struct HttpConfig {
        /// Address to serve `/metrics`, `/livez` and `/readyz` on; port 0 lets the system choose, `off` serves none of them.
        ///
        /// A port of its own, so that scrapers need not reach the one that changes stock; 9464 is
        /// where OpenTelemetry's Prometheus exporter listens.
        listen: String = Text {
            default: "127.0.0.1:9464",
            bound: "HOST:PORT or off",
            accepts: is_address_or_off,
            shown: str::to_owned,
        },
    }
}

section! { "store"
    /// Where stock is kept.
    pub struct StoreConfig {
        /// Database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
        ///
        /// An embedded file, so that the first run needs nothing else.
        url: String = Text {
            default: "sqlite://stockroom.db",
            bound: "sqlite://FILE or postgres://…",
            accepts: is_store_url,
            shown: without_password,
        },
        /// Most connections to PostgreSQL for reads, as many again for commits, of which batching needs one, and for what is read beside them; hints between instances take two more. SQLite has one writer and a few readers.
        ///
        /// Batches keep few connections busy, and on small machines more of them cost throughput.
        pool_max: u32 = Int { default: 8, min: 1, max: 64, unit: "connections" },
        /// Time to wait for a free connection before answering `STORE_UNAVAILABLE`.
        ///
        /// Short: callers can retry safely, and waiting calls only lengthen the queue.
        acquire_timeout_ms: u64 = Int { default: 2_000, min: 10, max: 60_000, unit: "ms" },
        /// Time after which PostgreSQL gives up on a statement, or on a transaction that idles.
        ///
        /// A batch takes milliseconds; this ends what hangs while its callers still wait.
        statement_timeout_ms: u64 = Int { default: 5_000, min: 10, max: 600_000, unit: "ms" },
        /// Whether `serve` migrates the schema first; `auto` does on SQLite and not on PostgreSQL.
        ///
        /// An embedded file has one program and should just work; a shared database is
        /// changed when its operators say so, with `stockroom migrate`.
        migrate_at_start: MigrateAtStart = Choice {
            default: "auto", choices: &["auto", "true", "false"]
        },
        /// Streaming replicas of the database, for reads that may be older than now; in variables and flags separated by commas.
        ///
        /// None: the database answers every read. Sixteen are more than a primary feeds without a
        /// cascade.
        replicas: Vec<String> = List {
            max: 16,
            bound: "postgres://…",
            accepts: is_postgres_url,
            shown: without_password,
        },
        /// Most connections to each replica.
        ///
        /// As many as the primary has for reads.
        replica_pool_max: u32 = Int { default: 8, min: 1, max: 64, unit: "connections" },
        /// Time that a replica has for a read, waiting for a connection included, before the primary is asked.
        ///
        /// A page of a thousand levels takes some ms; more than this is felt by a caller.
        replica_timeout_ms: u64 = Int { default: 250, min: 10, max: 60_000, unit: "ms" },
        /// How far a replica may be behind the primary; beyond it is left out until it has caught up.
        ///
        /// Streaming takes milliseconds, so seconds mean that something is wrong with it.
        replica_lag_max_ms: u64 = Int { default: 5_000, min: 100, max: 3_600_000, unit: "ms" },
        /// Interval at which replicas are checked, and by which their lag is told apart.
        ///
        /// A round trip to each a second costs nothing; a read that fails asks the primary at once.
        replica_check_interval_ms: u64 = Int { default: 1_000, min: 10, max: 60_000, unit: "ms" },
    }
}

section! { "engine"
    /// How writes queue, batch and retry.
    #[derive(Debug)]
    pub struct EngineConfig {
        /// Writes that may wait; one more is answered `OVERLOADED`.
        ///
        /// A quarter of a second of work at 30,000 orders a second: a longer queue serves nobody sooner.
        queue_orders_max: usize = Int { default: 8_192, min: 1, max: 1_000_000, unit: "orders" },
        /// Order lines that may wait, which bounds memory when orders are wide.
        ///
        /// Eight lines for each order that may wait.
        queue_lines_max: usize = Int {
            default: 65_536, min: LINES_MIN, max: 10_000_000, unit: "lines"
        },
        /// Most writes of one commit; 1 switches batching off.
        ///
        /// Where the cost of a commit has been shared among enough orders to vanish; larger ones make
        /// callers and database work in turns. More pays where a flush takes longer than 5 ms.
        batch_orders_max: usize = Int { default: 256, min: 1, max: 16_384, unit: "orders" },
        /// Most order lines of one commit.
        ///
        /// Keeps a commit of wide orders as short as one of narrow ones.
        batch_lines_max: usize = Int {
            default: 8_192, min: LINES_MIN, max: 131_072, unit: "lines"
        },
        /// Commits under way at a time without batching; 0 means `store.pool_max`. Batching and SQLite have one.
        ///
        /// Two batches in flight would conflict with each other on every product that both sell.
        commits_in_flight_max: usize = Int { default: 0, min: 0, max: 64, unit: "commits" },
        /// Times that an order is tried before it is answered `STOCK_CONTENTION`.
        ///
        /// With the backoff below this is reached only when other processes never pause.
        retry_attempts_max: u32 = Int { default: 10, min: 1, max: 100, unit: "attempts" },
        /// Upper end of the random wait before the first retry; it doubles with each.
        ///
        /// About one commit on a good disk.
        retry_backoff_ms: u64 = Int { default: 2, min: 1, max: 10_000, unit: "ms" },
        /// Upper end of the random wait before any retry.
        ///
        /// Ten attempts stay well within `engine.retry_total_ms`.
        retry_backoff_max_ms: u64 = Int { default: 250, min: 1, max: 60_000, unit: "ms" },
        /// Time after which an order is not tried again, whatever attempts it has left.
        ///
        /// Leaves a caller with a 5 s deadline the time to hear why.
        retry_total_ms: u64 = Int { default: 3_000, min: 1, max: 60_000, unit: "ms" },
        /// Time to settle a commit whose outcome the database did not live to tell, before answering `STORE_UNAVAILABLE`.
        ///
        /// As long as callers wait by default: a database restarts in less.
        settle_timeout_ms: u64 = Int { default: 9_000, min: 0, max: 600_000, unit: "ms" },
    }
}

section! { "locking"
    /// How commits keep out of each other's way.
    #[derive(Debug)]
    pub struct LockingConfig {
        /// How a level is guarded against other instances; SQLite, which has none, takes `optimistic` alone.
        ///
        /// Fastest wherever one instance sells a product at a time, and it notices when that is not so.
        strategy: LockingStrategy = Choice {
            default: "optimistic", choices: &["optimistic", "pessimistic", "atomic", "redis_lock"]
        },
        /// Life of a lock of `redis_lock`; a holder that takes longer loses it, which costs a retry.
        ///
        /// Hundreds of times a commit, and soon enough over when its holder has died.
        redis_lock_ttl_ms: u64 = Int { default: 2_000, min: 10, max: 60_000, unit: "ms" },
        /// Time that a batch waits for the locks of `redis_lock` before it goes on without, on the version's guard alone.
        ///
        /// Several commits of other instances; waiting for a dead one would cost more than a conflict.
        redis_lock_wait_ms: u64 = Int { default: 500, min: 1, max: 60_000, unit: "ms" },
    }
}

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
        /// Answers that fail in a row after which Redis is not asked any more; a broken connection counts at once.
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
        /// Spares the database the floods after a sell-out. Off, because a refusal may then be as old as the cache.
        fast_refusal: FastRefusal = Choice { default: "false", choices: &["true", "false"] },
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

section! { "watch"
    /// Streams of changes.
    #[derive(Debug)]
    pub struct WatchConfig {
        /// Silence on a stream after which a heartbeat is sent.
        ///
        /// A quarter of the 60 s after which common proxies drop an idle stream.
        heartbeat_ms: u64 = Int { default: 15_000, min: 100, max: 600_000, unit: "ms" },
        /// Interval at which watched levels are read again, to see what other processes changed.
        ///
        /// Such a change arrives within a second, reading and sending included.
        reread_interval_ms: u64 = Int { default: 500, min: 10, max: 60_000, unit: "ms" },
        /// Most streams of this process; one more is answered `TOO_MANY_WATCHES`.
        ///
        /// Twice the ten thousand that are a normal load.
        streams_max: usize = Int { default: 20_000, min: 1, max: 1_000_000, unit: "streams" },
        /// Most streams of one connection; one more is answered `TOO_MANY_WATCHES`.
        ///
        /// Below `server.concurrent_streams_max`, so that calls on the connection still find room.
        streams_per_connection_max: usize = Int { default: 1_000, min: 1, max: 1_000_000, unit: "streams" },
        /// Most levels that one stream may name, `seen` included; one more is answered `TOO_MANY_WATCHES`.
        ///
        /// As many as a stream may have seen. Each takes about 150 bytes while the stream is open.
        targets_max: usize = Int { default: 100_000, min: 1, max: 110_000, unit: "levels" },
        /// Most of one core that delivering changes may take, readers on the same machine included; 0 sets no limit.
        ///
        /// A fifth: orders lose a tenth of two cores when ten thousand streams watch what sells, and each stream still has its value twice a second.
        cpu_share_percent: u32 = Int { default: 20, min: 0, max: 10_000, unit: "%" },
        /// Age, give or take a tenth, at which a stream is sent Goodbye and reconnects.
        ///
        /// Six hours: spreads watchers over new instances within a shift, and costs nothing.
        age_max_ms: u64 = Int { default: 21_600_000, min: 1_000, max: 604_800_000, unit: "ms" },
    }
}

section! { "log"
    /// What the program says about itself, on stderr.
    #[derive(Debug)]
    pub struct LogConfig {
        /// What is logged, such as `info,stockroom=debug`; commands other than `serve` start at `warn`.
        ///
        /// Starts, ends and failures, but no line for each request.
        filter: String = Text {
            default: "info",
            bound: "a level or a list of TARGET=LEVEL",
            accepts: is_log_filter,
            shown: str::to_owned,
        },
        /// How it is written: for people, or one JSON object a line; `auto` asks whether stderr is a terminal.
        ///
        /// People read terminals, programs read the rest.
        format: LogFormat = Choice { default: "auto", choices: &["auto", "pretty", "json"] },
    }
}

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

/// Whether orders may be refused on cached levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum FastRefusal {
    /// They may.
    #[serde(rename = "true")]
    On,
    /// The database refuses.
    #[serde(rename = "false")]
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

/// A host may be a name, which only the system can resolve.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn is_address_or_off(text: &str) -> bool {
    text == OFF || is_address(text)
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

fn is_log_filter(text: &str) -> bool {
    !text.trim().is_empty() && EnvFilter::builder().parse(text).is_ok()
}
