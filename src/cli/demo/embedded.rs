//! A server in this process, on a database that is gone when it ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::config::{Config, StoreConfig};
use crate::server::{self, Listeners};
use crate::storage::{Access, Store};
use crate::telemetry::Counters;

/// How many ports to try, one after the other.
const PORTS_MAX: u16 = 100;

/// Migrating an empty database takes a fraction of this.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The server and what there is to look into it.
pub(super) struct Embedded {
    address: SocketAddr,
    counters: Arc<Counters>,
    /// For looking past the server at what is on disk.
    store: Store,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
    /// Removed when dropped, so last.
    directory: TempDir,
}

impl Embedded {
    /// Starts it on `port` or the next one that is free, with the settings of
    /// `config` but a database of its own and nothing beside it, and waits until it serves.
    pub(super) async fn start(config: Config, port: u16) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stockroom-demo-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let file = directory.path().join("stockroom.db");
        // What its orders would be told to, and what suits another database, stay out of it.
        let default = Config::default();
        let config = Config {
            store: StoreConfig {
                url: format!("sqlite://{}", file.display()),
                ..default.store
            },
            locking: default.locking,
            events: default.events,
            redis: default.redis,
            cache: default.cache,
            ..config
        };
        let grpc = bind(port).await?;
        let address = grpc.local_addr()?;
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = oneshot::channel();
        let (settings, counts) = (config.clone(), Arc::clone(&counters));
        let serving = tokio::spawn(async move {
            // A dropped sender means that the demo failed: stop as well.
            let shutdown = async { stopped.await.unwrap_or_default() };
            // What it counted is printed; a port for it could be taken.
            let listeners = Listeners { grpc, http: None };
            server::run(settings, listeners, counts, shutdown).await
        });
        wait_until_ready(address).await?;
        let store = Store::open(&config.store, Access::Read).await?;
        Ok(Self {
            address,
            counters,
            store,
            stop,
            serving,
            directory,
        })
    }

    /// Where it serves.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its database is.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its database, for reading.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What it counted.
    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Drains it and removes its database.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.store.close().await;
        // An error means that it ended by itself, and the next line says why.
        let _ = self.stop.send(());
        self.serving.await.context("the server's task failed")?
    }
}

async fn bind(first: u16) -> anyhow::Result<TcpListener> {
    for port in first..=first.saturating_add(PORTS_MAX) {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            bound => return bound.with_context(|| format!("cannot listen on port {port}")),
        }
    }
    anyhow::bail!("port {first} and the {PORTS_MAX} after it are taken")
}

/// The socket is bound before there is a database, so connecting proves nothing.
async fn wait_until_ready(address: SocketAddr) -> anyhow::Result<()> {
    let client = Client::connect(&format!("http://{address}"), 1).await?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let is_early = Instant::now() < deadline;
        match client.serves().await {
            Ok(true) => return Ok(()),
            Ok(false) if is_early => {}
            Ok(false) => anyhow::bail!("the server did not start"),
            Err(error) if error.retryable() && is_early => {}
            Err(error) => return Err(error).context("the server did not start"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}
