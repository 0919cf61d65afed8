//! The server: all the wiring, and the only way to start it, tests included.

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

use crate::config::{Config, ServerConfig};
use crate::engine::Engine;
use crate::engine::plan::Events;
use crate::error::chain;
use crate::feed::{Feed, HintOutbox, exchange_forever, fan_out_forever, hear_forever};
pub use crate::grpc::DeadlineLayer;
use crate::grpc::{Gate, Inventory, InventoryServer, Orders, Permits, Turns, Watching};
use crate::http::{self, Observed};
use crate::kafka::Topics;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::order_service_server::OrderServiceServer;
use crate::reads::Reads;
use crate::relay::Relay;
use crate::storage::{Access, SchemaState, StorageError, Store};
use crate::telemetry::{Counters, keep_up_forever};

/// What health is reported for: the server as a whole and each service.
const HEALTH_NAMES: [&str; 3] = [
    "",
    "stockroom.v1.OrderService",
    "stockroom.v1.InventoryService",
];

/// How often the database is asked whether it is there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// How long calls under way get when the database is another one. Those that wait for
/// the old one wait in vain.
const ANOTHER_STORE_DRAIN: Duration = Duration::from_secs(1);

/// How often the use of connections is sampled.
const POOLS_INTERVAL: Duration = Duration::from_secs(1);

/// How often all levels are read to see that none is impossible: a million of them
/// take a tenth of a second.
const BOOKS_INTERVAL: Duration = Duration::from_secs(60);

/// Flow-control windows. One order is a few hundred bytes, and a connection
/// carries hundreds at a time; the default of 64 KiB would stall it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Streams that a peer may make the server reset before it is cut off
/// (RUSTSEC-2024-0003).
const LOCAL_RESETS_MAX: usize = 1_024;

/// What lies between the transport and every service.
type Layers = Stack<DeadlineLayer, Identity>;

/// The sockets that a server listens on, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC over plain HTTP/2.
    pub grpc: TcpListener,
    /// Metrics and probes over HTTP/1.1; none serves neither.
    pub http: Option<TcpListener>,
}

impl Listeners {
    /// The same sockets once more, and what comes to them.
    fn again(&self) -> io::Result<Self> {
        let again = |listener: &TcpListener| {
            let socket = listener.as_fd().try_clone_to_owned()?;
            TcpListener::from_std(socket.into())
        };
        Ok(Self {
            grpc: again(&self.grpc)?,
            http: self.http.as_ref().map(again).transpose()?,
        })
    }
}

/// Why serving ended.
enum Ended {
    /// Somebody asked for it.
    Asked,
    /// The database is another one, of which nothing is known.
    AnotherStore,
    /// It could not go on.
    Failed(anyhow::Error),
}

/// Serves until `shutdown` resolves, then drains within `server.drain_timeout_ms`:
/// health says NOT_SERVING, watchers get their Goodbye, calls under way are
/// answered, and commits under way end.
///
/// When the database turns out to be another one, after a failover or a restore, all of
/// that happens too, in little time, and then it serves again: a server with all that
/// it remembers does not outlive its store.
///
/// # Errors
/// The store cannot be opened, its schema is unknown to this program, or the
/// listener fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    counters: Arc<Counters>,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let mut kept = Some(listeners);
    let mut shutdown = pin!(shutdown);
    while let Some(listeners) = &kept {
        let listeners = listeners.again().context("cannot listen")?;
        let asked = async {
            shutdown.as_mut().await;
            // Or whoever connects from now on would wait instead of being refused.
            kept = None;
        };
        match Box::pin(serve(&config, listeners, &counters, asked)).await? {
            Ended::Asked => break,
            Ended::AnotherStore => tracing::warn!("beginning anew on another database"),
            Ended::Failed(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serves one store for as long as it is the same.
async fn serve(
    config: &Config,
    listeners: Listeners,
    counters: &Arc<Counters>,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<Ended> {
    let store = Store::open(&config.store, Access::Write).await?;
    let feed = Feed::default();
    let outbox = HintOutbox::default();
    let telling = fan_out_forever(feed.clone(), config.watch.cpu_share_percent);
    let _telling = AbortOnDropHandle::new(tokio::spawn(telling));
    let relay = Relay::start(&store, &config.events, counters)?;
    let waker = relay.as_ref().map(Relay::waker);
    let engine = start_engine(config, &store, counters, &feed, &outbox, waker)?;
    let gate = Arc::new(Gate::default());
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter).await;
    let _observed = listeners.http.map(|listener| {
        let observed = health.observed(counters);
        AbortOnDropHandle::new(tokio::spawn(http::serve(listener, observed)))
    });
    let _kept_up = AbortOnDropHandle::new(tokio::spawn(keep_up_forever(Arc::clone(counters))));
    let looked_after = look_after_forever(store.clone(), Arc::clone(counters));
    let _looked_after = AbortOnDropHandle::new(tokio::spawn(looked_after));
    let replicas = store.clone().look_after_replicas_forever();
    let _heard = hear_events(config, &store, &feed, counters);
    let _replicas = AbortOnDropHandle::new(tokio::spawn(replicas));

    let watching = Watching {
        feed: feed.clone(),
        store: store.clone(),
        config: config.watch.clone(),
        counters: Arc::clone(counters),
        gate: Arc::clone(&gate),
        permits: Permits::new(&config.watch),
        snapshot_turns: Turns::new(),
        replica_turns: Turns::on_replicas(store.replica_count()),
        ledger_turns: Turns::new(),
        store_id: OnceCell::new(),
    };
    let router = transport(&config.server).add_service(health_service);
    let router = add_services(router, &config.server, &engine, &store, watching)?;
    let incoming = TcpIncoming::from(listeners.grpc).with_nodelay(Some(true));
    let draining = gate.draining.clone();
    let serving = router.serve_with_incoming_shutdown(incoming, draining.cancelled_owned());
    let mut serving = AbortOnDropHandle::new(tokio::spawn(serving));

    let _others = store.hints().map(|hints| {
        let every = config.watch.reread_interval();
        let counters = Arc::clone(counters);
        let others = exchange_forever(hints, outbox, feed, store.clone(), every, counters);
        AbortOnDropHandle::new(tokio::spawn(others))
    });
    let ended = tokio::select! {
        () = shutdown => Ended::Asked,
        () = store.becomes_another() => Ended::AnotherStore,
        failed = keep_ready(config, &store, &gate, &health) => match failed {
            Ok(never) => match never {},
            Err(error) => Ended::Failed(error),
        },
        ended = &mut serving => match ended.context("the server's task failed")? {
            Ok(()) => Ended::Asked,
            Err(error) => Ended::Failed(anyhow::Error::new(error).context("the server failed")),
        },
    };
    let drain_timeout = leave(&ended, config, &gate);
    health.report(false).await;
    let deadline = Instant::now() + drain_timeout;
    let is_over = matches!(ended, Ended::Failed(_)) || serving.is_finished();
    if !is_over && timeout_at(deadline, &mut serving).await.is_err() {
        tracing::warn!("connections were still open when the time to drain was over");
    }
    drop(serving);
    end(store, engine, relay, deadline).await;
    Ok(ended)
}

/// Ends what works behind the calls, in the order in which it feeds the next.
async fn end(store: Store, engine: Engine, relay: Option<Relay>, deadline: Instant) {
    // The commits under way are bounded by the statement timeout.
    let grace = Duration::from_secs(1);
    if timeout_at(deadline + grace, engine.drain()).await.is_err() {
        tracing::warn!("commits were still under way when the time to drain was over");
    }
    if let Some(relay) = relay {
        relay.end().await;
    }
    let _ = timeout(grace, store.close()).await;
}

/// Begins to end what is served, and says how long that may take.
fn leave(ended: &Ended, config: &Config, gate: &Gate) -> Duration {
    let drain_timeout = config.server.drain_timeout();
    match ended {
        Ended::AnotherStore => {
            gate.leave_store();
            drain_timeout.min(ANOTHER_STORE_DRAIN)
        }
        Ended::Asked => {
            tracing::info!("draining");
            gate.draining.cancel();
            drain_timeout
        }
        // Nobody is served any more, or nothing.
        Ended::Failed(_) => {
            gate.draining.cancel();
            drain_timeout
        }
    }
}

/// Hears other instances through Kafka, where that is configured, until dropped.
fn hear_events(
    config: &Config,
    store: &Store,
    feed: &Feed,
    counters: &Counters,
) -> Option<AbortOnDropHandle<()>> {
    let events = &config.events;
    let brokers = events.brokers().filter(|_| events.feeds())?;
    let topics = Topics::new(&events.topic_prefix);
    let heard = counters.relay.heard.clone();
    let hearing = hear_forever(
        brokers.to_owned(),
        topics,
        store.clone(),
        feed.clone(),
        heard,
    );
    Some(AbortOnDropHandle::new(tokio::spawn(hearing)))
}

/// Starts the engine, which tells the feed of each commit, and the other processes on
/// the same database where there can be any.
fn start_engine(
    config: &Config,
    store: &Store,
    counters: &Arc<Counters>,
    feed: &Feed,
    outbox: &HintOutbox,
    wake_relay: Option<impl Fn() + Send + Sync + 'static>,
) -> anyhow::Result<Engine> {
    let feed = feed.clone();
    let outbox = store.is_shared().then(|| outbox.clone());
    let engine = Engine::start(
        store.clone(),
        config.engine.clone(),
        config.locking.strategy,
        config.store.pool_max,
        match config.events.brokers() {
            Some(_) => Events::On,
            None => Events::Off,
        },
        Arc::clone(counters),
        move |levels| {
            feed.publish(levels);
            if let Some(outbox) = &outbox {
                outbox.committed(levels);
            }
            if let Some(wake_relay) = &wake_relay {
                wake_relay();
            }
        },
    );
    engine.context("cannot start the engine")
}

/// Orders, inventory and what describes them.
fn add_services(
    router: Router<Layers>,
    config: &ServerConfig,
    engine: &Engine,
    store: &Store,
    watching: Watching,
) -> anyhow::Result<Router<Layers>> {
    let orders = Orders {
        engine: engine.clone(),
        store: store.clone(),
        gate: Arc::clone(&watching.gate),
        counters: Arc::clone(&watching.counters),
    };
    let inventory = Inventory {
        engine: engine.clone(),
        reads: Reads::new(store.clone()),
        store: store.clone(),
        gate: Arc::clone(&watching.gate),
        counters: Arc::clone(&watching.counters),
    };
    let bytes_max = config.message_bytes_max;
    Ok(router
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(OrderServiceServer::new(orders).max_decoding_message_size(bytes_max))
        .add_service(InventoryServer::new(inventory, watching, bytes_max)))
}

/// The runtime that a server is made for. A single worker takes woken tasks in turn: the
/// answers of a batch are all written before its connections are, which then send them
/// together. Several workers run what was woken last first, and send one by one.
///
/// # Errors
/// The system gives no threads.
pub fn runtime(config: &ServerConfig) -> io::Result<Runtime> {
    let mut builder = match config.worker_threads() {
        1 => runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build()
}

/// The transport settings and layers that every Stockroom server has. Also what
/// the bench's echo server stands on, so that the two can be compared.
pub fn transport(config: &ServerConfig) -> Server<Layers> {
    Server::builder()
        .http2_keepalive_interval(Some(config.keepalive_interval()))
        .http2_keepalive_timeout(Some(config.keepalive_timeout()))
        .max_concurrent_streams(config.concurrent_streams_max)
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(DeadlineLayer::new(config.request_timeout()))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The details of errors, so that grpcurl can show them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// Whether this server takes requests, told over gRPC and over HTTP alike.
struct Health {
    reporter: HealthReporter,
    ready: watch::Sender<bool>,
}

impl Health {
    /// Not ready: tonic-health would begin with SERVING.
    async fn new(reporter: HealthReporter) -> Self {
        let (ready, _) = watch::channel(false);
        let health = Self { reporter, ready };
        health.report(false).await;
        health
    }

    async fn report(&self, ready: bool) {
        self.ready.send_replace(ready);
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in HEALTH_NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// What the HTTP port shows.
    fn observed(&self, counters: &Arc<Counters>) -> Observed {
        Observed {
            counters: Arc::clone(counters),
            ready: self.ready.subscribe(),
        }
    }
}

/// Never returned: [`keep_ready`] ends with an error or not at all.
enum Never {}

/// Brings the schema up where the configuration says so, waits for it where it
/// does not, and then keeps the reported health true.
async fn keep_ready(
    config: &Config,
    store: &Store,
    gate: &Gate,
    health: &Health,
) -> anyhow::Result<Never> {
    let mut last = None;
    loop {
        let state = ready(config, store, gate).await;
        let is_ready = matches!(state, Ok(SchemaState::Current));
        match state {
            Ok(SchemaState::Unknown(why)) => {
                anyhow::bail!("the database's schema is not one that this program knows: {why}")
            }
            Ok(SchemaState::Current) => gate.open(),
            Ok(SchemaState::Behind(steps)) if last != Some(is_ready) => {
                tracing::warn!(steps, "waiting for `stockroom migrate`");
            }
            Err(error) if last != Some(is_ready) => {
                tracing::warn!(error = chain(&error), "the database is not reachable");
            }
            Ok(SchemaState::Behind(_)) | Err(_) => {}
        }
        if last != Some(is_ready) {
            last = Some(is_ready);
            if is_ready {
                tracing::info!("serving");
            }
            health.report(is_ready).await;
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}

/// Keeps the metrics true that nobody counts: the use of connections, and whether
/// there are levels that cannot be.
async fn look_after_forever(store: Store, counters: Arc<Counters>) {
    let mut books_due = Instant::now();
    loop {
        let (writer, reader) = store.pools();
        for (gauges, usage) in [
            (&counters.pools.writer, writer),
            (&counters.pools.reader, reader),
        ] {
            gauges.in_use.set(usage.in_use.into());
            gauges.idle.set(usage.idle.into());
            gauges.waiting.set(usage.waiting.into());
        }
        count_replicas(&store, &counters);
        if Instant::now() >= books_due {
            books_due = Instant::now() + BOOKS_INTERVAL;
            // A database that is away, or has no schema yet, is reported elsewhere.
            if let Ok(faults) = store.find_level_faults().await {
                let count = |levels: i64| levels.unsigned_abs();
                counters.set_books(count(faults.negative), count(faults.reserved_without_hold));
            }
        }
        tokio::time::sleep(POOLS_INTERVAL).await;
    }
}

/// Tells the metrics of replicas what the store knows of them.
fn count_replicas(store: &Store, counters: &Counters) {
    for replica in store.replicas() {
        let metrics = counters.replica(&replica.name);
        metrics.serves.set(replica.serves.into());
        let lag_us = i64::try_from(replica.lag.as_micros()).unwrap_or(i64::MAX);
        metrics.lag_us.set(lag_us);
        metrics.in_use.set(replica.pool.in_use.into());
        metrics.idle.set(replica.pool.idle.into());
        metrics.waiting.set(replica.pool.waiting.into());
        metrics.served.add(replica.served);
        metrics.behind.add(replica.behind);
        metrics.failed.add(replica.failed);
        metrics.left_out.add(replica.left_out);
    }
}

async fn ready(config: &Config, store: &Store, gate: &Gate) -> Result<SchemaState, StorageError> {
    if gate.is_open() {
        // The schema has been seen; what can change now is that the database is away.
        store.store_id().await?;
        return Ok(SchemaState::Current);
    }
    match store.schema_state().await? {
        SchemaState::Behind(_) if config.store.migrates_at_start() => {
            let steps = store.migrate().await?;
            tracing::info!(steps, "migrated");
            Ok(SchemaState::Current)
        }
        state => Ok(state),
    }
}
