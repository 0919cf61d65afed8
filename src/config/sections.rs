//! Every key but those of `neighbours`: what it means, its default and why, its bounds.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::choices::{LockingStrategy, LogFormat, MigrateAtStart};
use super::store_url::{is_postgres_url, is_store_url, without_password};
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
            bound: "HOST:PORT or [IPV6]:PORT",
            accepts: is_address,
            shown: str::to_owned,
        },
        /// Time that calls under way get to end after SIGTERM or SIGINT.
        ///
        /// As long as a call may take, and well inside the 30 s after which orchestrators kill.
        drain_timeout_ms: u64 = Int { default: 10_000, min: 0, max: 600_000, unit: "ms" },
        /// Time in which the answer to a call must begin, before it is `DEADLINE_EXCEEDED`; the request of a watch has six times as long to come.
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
        concurrent_streams_max: u32 = Int { default: 1_024, min: 2, max: 1_000_000, unit: "streams" },
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
        /// Time in which a ping must be answered, and a new connection must say something, before it is closed.
        ///
        /// Long enough for a paused laptop or a slow mobile network.
        keepalive_timeout_ms: u64 = Int { default: 10_000, min: 100, max: 600_000, unit: "ms" },
        /// Age at which a connection is asked to go (GOAWAY): what is under way on it ends, and the client opens another.
        ///
        /// Half an hour: behind a balancer of connections, instances that are new get their share of callers within it.
        /// Connections that began together go together; each costs its client one handshake.
        connection_age_max_ms: u64 = Int { default: 1_800_000, min: 1_000, max: 604_800_000, unit: "ms" },
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
            bound: "HOST:PORT, [IPV6]:PORT or off",
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
            bound: "sqlite://FILE or postgres://…, a password percent-encoded",
            accepts: is_store_url,
            shown: without_password,
        },
        /// Most connections of each of three pools to PostgreSQL: for reads, for commits (batching uses one), and for what commits are planned on. SQLite has one writer and a few readers.
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
            bound: "postgres://…, a password percent-encoded",
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
        /// Attempts at an order before it is answered `STOCK_CONTENTION`; one that meets a conflict is tried once more at once.
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

section! { "holds"
    /// Orders that reserve before they take.
    #[derive(Debug)]
    pub struct HoldsConfig {
        /// Longest time that an order may reserve for, or be extended by; at least 1 s.
        ///
        /// A week outlasts bank transfers and approvals; what is reserved for longer is forgotten.
        length_max_ms: u64 = Int { default: 604_800_000, min: 1_000, max: 31_536_000_000, unit: "ms" },
        /// Interval at which one of the instances looks for holds that are over.
        ///
        /// Orders that need their units do not wait for it; a second is what people call at once.
        sweep_interval_ms: u64 = Int { default: 1_000, min: 10, max: 3_600_000, unit: "ms" },
        /// Holds that it ends at a time, without a pause while there are so many.
        ///
        /// As many as fit in a batch, so that ten thousand a second are a few commits.
        sweep_orders_max: usize = Int { default: 1_000, min: 1, max: 10_000, unit: "orders" },
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
        streams_per_connection_max: usize = Int { default: 1_000, min: 1, max: 999_999, unit: "streams" },
        /// Most levels that one stream may name, `seen` included; one more is answered `TOO_MANY_WATCHES`.
        ///
        /// As many as a stream may have seen. Each takes about 150 bytes while the stream is open.
        targets_max: usize = Int { default: 100_000, min: 1, max: 110_000, unit: "levels" },
        /// Most of one core that delivering changes may take, readers on the same machine included; 0 sets no limit.
        ///
        /// A fifth: orders lose a tenth of two cores when ten thousand streams watch what sells, and each stream still has its value twice a second.
        cpu_share_percent: u32 = Int { default: 20, min: 0, max: 10_000, unit: "%" },
        /// Age, give or take a tenth, at which the server says Goodbye and ends a stream, and the client opens another; a reader that has stopped gets it when it reads again.
        ///
        /// Six hours: spreads watchers over new instances within a shift, and costs nothing. Its
        /// connection has been asked to go by then (`server.connection_age_max_ms`).
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
            bound: "off, error, warn, info, debug, trace, TARGET=LEVEL, or a list of these without spaces",
            accepts: is_log_filter,
            shown: str::to_owned,
        },
        /// How it is written: for people, or one JSON object a line; `auto` asks whether stderr is a terminal.
        ///
        /// People read terminals, programs read the rest.
        format: LogFormat = Choice { default: "auto", choices: &["auto", "pretty", "json"] },
    }
}

/// A host may be a name, which only the system can resolve. One with colons is in brackets:
/// without them the system takes it to listen on, and no URL can be made of it to call.
pub(super) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_in_brackets = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (!host.contains(':') || is_in_brackets);
    is_host && port.parse::<u16>().is_ok()
}

fn is_address_or_off(text: &str) -> bool {
    text == OFF || is_address(text)
}

/// A word that is no level would be a target, and all else be silent: `warning`, ` debug`.
fn is_log_filter(text: &str) -> bool {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let is_meant = |part: &str| part.contains(['=', '[']) || is_level(part);
    text.split(',').all(is_meant) && EnvFilter::builder().parse(text).is_ok()
}
