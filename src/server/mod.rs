//! The server: all the wiring, and the only way to start it, tests included. What
//! belongs to a store is started in `serve`, and renewed when the store is another one.

mod health;
mod metering;
mod transport;
mod wiring;

use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::future::OptionFuture;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use self::health::{Health, keep_ready};
use self::transport::{add_services, incoming};
pub use self::transport::{runtime, transport};
use self::wiring::{start_beside, start_cache, start_engine, start_sweeper};
use crate::config::Config;
use crate::engine::Engine;
use crate::feed::{Feed, HintOutbox, exchange_forever};
pub use crate::grpc::DeadlineLayer;
use crate::grpc::{Gate, Watching};
use crate::http;
use crate::reads::Reads;
use crate::relay::Relay;
use crate::storage::{Access, Store};
use crate::tasks::Tasks;
use crate::telemetry::Counters;

/// How long calls under way get when the database is another one. Those that wait for
/// the old one wait in vain.
const ANOTHER_STORE_DRAIN: Duration = Duration::from_secs(1);

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

impl Ended {
    /// Of a transport that stopped by itself.
    fn of(transport: Result<(), tonic::transport::Error>) -> Self {
        match transport {
            Ok(()) => Self::Asked,
            Err(error) => Self::Failed(anyhow::Error::new(error).context("the server failed")),
        }
    }
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
    let tasks = Tasks::default();
    let _beside = start_beside(config, &store, &feed, counters, &tasks);
    let relay = Relay::start(&store, &config.events, counters)?;
    let waker = relay.as_ref().map(Relay::waker);
    let cache = start_cache(config, counters, &tasks)?;
    let engine = start_engine(
        config,
        &store,
        counters,
        &feed,
        &outbox,
        waker,
        cache.clone(),
    )?;
    let _sweeper = start_sweeper(config, &store, &engine, counters, &tasks);
    let gate = Arc::new(Gate::default());
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter, counters).await;
    let _observed = listeners.http.map(|listener| {
        let observed = health.observed();
        tasks.start("the port for scrapes", http::serve(listener, observed))
    });

    let watching = Watching::new(&feed, &store, &config.watch, counters, &gate);
    let router = transport(&config.server, counters).add_service(health_service);
    let refuses_fast = config.cache.refuses_fast();
    let reads = Reads::new(store.clone(), cache.clone(), refuses_fast, &tasks);
    let router = add_services(router, config, &engine, &store, reads, watching)?;
    let incoming = incoming(listeners.grpc, config.server.keepalive_timeout());
    let draining = gate.draining.clone();
    let serving = router.serve_with_incoming_shutdown(incoming, draining.cancelled_owned());
    let mut serving = AbortOnDropHandle::new(tokio::spawn(serving));

    let _others = store.hints().map(|hints| {
        let every = config.watch.reread_interval();
        let counters = Arc::clone(counters);
        let others = exchange_forever(hints, outbox, feed, store.clone(), every, counters);
        tasks.start("the exchange of hints", others)
    });
    let ended = tokio::select! {
        () = shutdown => Ended::Asked,
        () = store.becomes_another() => Ended::AnotherStore,
        broken = breaks(&engine, relay.as_ref(), &tasks) => Ended::Failed(broken),
        failed = keep_ready(config, &store, &gate, &health, cache.as_ref()) => match failed {
            Ok(never) => match never {},
            Err(error) => Ended::Failed(error),
        },
        ended = &mut serving => Ended::of(ended.context("the server's task failed")?),
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

/// Waits until something ends by itself that a server cannot do without, and says what. The
/// server ends with it, for whoever started it to start it anew: it would be dead in part.
async fn breaks(engine: &Engine, relay: Option<&Relay>, tasks: &Tasks) -> anyhow::Error {
    let relay = OptionFuture::from(relay.map(Relay::ended));
    let broken = tokio::select! {
        () = engine.ended() => "the engine",
        Some(()) = relay => "the relay",
        name = tasks.broken() => name,
    };
    anyhow!("{broken} has stopped")
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
