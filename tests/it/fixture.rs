//! A running server with a store of its own.
//!
//! Starts the real `server::run` and nothing else. When the value is dropped,
//! the server is shut down and **the books are checked**: every test ends with
//! them, whatever else it claims.

mod home;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stockroom::client::Client;
use stockroom::config::Config;
use stockroom::server::{Listeners, run};
use stockroom::telemetry::Counters;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub(crate) use self::home::Home;

/// How long a state that must come may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

impl StoreKind {
    /// Whether `STOCKROOM_TEST_STORES` asks for it; SQLite alone needs nothing.
    fn is_wanted(self) -> bool {
        let stores = std::env::var("STOCKROOM_TEST_STORES");
        let stores = stores.as_deref().unwrap_or("sqlite");
        let known = |name: &&str| matches!(*name, "sqlite" | "postgres");
        assert!(
            stores.split(',').all(|name| known(&name)),
            "STOCKROOM_TEST_STORES={stores}"
        );
        stores.split(',').any(|name| match self {
            Self::Sqlite => name == "sqlite",
            Self::Postgres => name == "postgres",
        })
    }
}

/// Runs `test` on a runtime of its own, unless the run leaves this store out,
/// which is said aloud.
pub(crate) fn run_on<F: Future<Output = ()>>(kind: StoreKind, test: impl FnOnce(StoreKind) -> F) {
    if !kind.is_wanted() {
        let stores = std::env::var("STOCKROOM_TEST_STORES").unwrap_or("sqlite".to_owned());
        return not_run(&format!(
            "on {kind:?}: this run is on {stores} alone; `make test` runs on both stores"
        ));
    }
    runtime().block_on(test(kind));
}

/// Says aloud, once, that tests do not run: which, and why.
pub(crate) fn not_run(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let said = SAID.lock();
    if said
        .unwrap_or_else(PoisonError::into_inner)
        .insert(what.to_owned())
    {
        // Written past the capture of libtest, which shows it only for failed tests.
        let _ = writeln!(std::io::stderr(), "\nNOT RUN {what}\n");
    }
}

/// A runtime whose tasks run beside the test itself, which may block.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be had")
}

/// Makes each claim a test on SQLite and a test on PostgreSQL.
macro_rules! on_each_store {
    ($($claim:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $claim() {
                crate::fixture::run_on(crate::fixture::StoreKind::Sqlite, super::$claim);
            })+
        }
        on_postgres!($($claim),+);
    };
}

/// Makes each claim a test on PostgreSQL: what SQLite cannot do.
macro_rules! on_postgres {
    ($($claim:ident),+ $(,)?) => {
        mod postgres {
            $(#[test] fn $claim() {
                crate::fixture::run_on(crate::fixture::StoreKind::Postgres, super::$claim);
            })+
        }
    };
}

/// A server in this process.
pub(crate) struct Stockroom {
    pub(crate) client: Client,
    /// For calls whose whole status matters, which `client` reduces.
    pub(crate) channel: Channel,
    pub(crate) addr: SocketAddr,
    /// Where metrics and probes are.
    pub(crate) http: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    pub(crate) home: Arc<Home>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Stockroom {
    /// Starts a server on a new store and waits until it serves.
    pub(crate) async fn start(kind: StoreKind) -> Self {
        Self::with(kind, |_| {}).await
    }

    /// As [`Stockroom::start`], with settings of the test's choice.
    pub(crate) async fn with(kind: StoreKind, configure: impl FnOnce(&mut Config)) -> Self {
        Self::on(Home::migrated(kind), configure).await
    }

    /// Starts a server on a store that others may be on as well.
    pub(crate) async fn on(home: Arc<Home>, configure: impl FnOnce(&mut Config)) -> Self {
        let stockroom = Self::not_ready(home, configure).await;
        stockroom.wait_for_health(ServingStatus::Serving).await;
        stockroom
    }

    /// Starts a server without waiting until it serves.
    pub(crate) async fn not_ready(home: Arc<Home>, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            store: home.store_config(),
            ..Config::default()
        };
        configure(&mut config);
        let counters = Arc::new(Counters::default());
        let (shutdown, asked) = oneshot::channel();
        let (bound, addresses) = oneshot::channel();
        let thread = std::thread::spawn({
            let counters = Arc::clone(&counters);
            move || {
                runtime().block_on(async move {
                    let grpc = TcpListener::bind("127.0.0.1:0").await?;
                    let http = TcpListener::bind("127.0.0.1:0").await?;
                    let _ = bound.send((grpc.local_addr()?, http.local_addr()?));
                    let http = Some(http);
                    run(config, Listeners { grpc, http }, counters, async {
                        let _ = asked.await;
                    })
                    .await
                })
            }
        });
        let (addr, http) = addresses
            .await
            .expect("the loopback interface has free ports");
        let url = format!("http://{addr}");
        let channel = Channel::from_shared(url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            client: Client::connect(&url, 1).await.unwrap(),
            channel,
            addr,
            http,
            counters,
            home,
            shutdown: Some(shutdown),
            thread: Some(thread),
        }
    }

    /// A client with connections of its own.
    pub(crate) async fn another_client(&self) -> Client {
        Client::connect(&format!("http://{}", self.addr), 1)
            .await
            .unwrap()
    }

    /// What health says of the server as a whole.
    pub(crate) async fn health(&self) -> ServingStatus {
        let mut health = HealthClient::new(self.channel.clone());
        let answer = health.check(HealthCheckRequest::default()).await.unwrap();
        answer.into_inner().status()
    }

    pub(crate) async fn wait_for_health(&self, status: ServingStatus) {
        eventually(&format!("health is {status:?}"), async || {
            self.health().await == status
        })
        .await;
    }

    /// Begins to shut down, without waiting for the end.
    pub(crate) fn begin_shutdown(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
    }

    /// Shuts down and returns what the server returned.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.begin_shutdown();
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("the server does not panic")
    }
}

impl Drop for Stockroom {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has failed already; a second panic would hide why.
            self.begin_shutdown();
            return;
        }
        if self.thread.is_some() {
            self.home.check_no_idle_transaction();
            self.end().expect("the server ends well");
        }
        self.home.check_books();
    }
}

/// What `work` brings, which may take until [`DEADLINE`] all in all: heartbeats keep a loop
/// alive that bounds each of its steps.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until `holds`, which may take until [`DEADLINE`].
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
