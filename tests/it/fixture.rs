//! A running server with a store of its own.
//!
//! Starts the real `server::run` and nothing else. When the value is dropped,
//! the server is shut down and **the books are checked**: every test ends with
//! them, whatever else it claims.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Once;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stockroom::client::Client;
use stockroom::config::{Config, MigrateAtStart, StoreConfig};
use stockroom::server::{Listeners, run};
use stockroom::storage::{Access, Books, Store};
use stockroom::telemetry::Counters;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::servers::postgres::{Database, Server, database, psql};

/// How long a state that must come may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long a transaction may be seen idle. Below the server-side time limit on
/// idle transactions, which would hide one that was forgotten.
const IDLE_DEADLINE: Duration = Duration::from_secs(3);

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
    static SAID: Once = Once::new();
    if !kind.is_wanted() {
        SAID.call_once(|| {
            // Written past the capture of libtest, which shows it only for failed tests.
            use std::io::Write as _;
            let stores = std::env::var("STOCKROOM_TEST_STORES").unwrap_or("sqlite".to_owned());
            let _ = writeln!(
                std::io::stderr(),
                "\nNOT RUN on {kind:?}: this run is on {stores} alone; `make test` runs on both stores\n"
            );
        });
        return;
    }
    runtime().block_on(test(kind));
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

/// Where a store is kept; removed with the last server or process on it.
#[derive(Debug)]
pub(crate) enum Home {
    Sqlite { folder: tempfile::TempDir },
    Postgres(Database),
}

impl Home {
    pub(crate) fn new(kind: StoreKind) -> Arc<Self> {
        Arc::new(match kind {
            StoreKind::Sqlite => Self::Sqlite {
                folder: tempfile::tempdir().expect("the temporary directory can be written"),
            },
            StoreKind::Postgres => Self::Postgres(database()),
        })
    }

    /// A database on a server of the test's own.
    pub(crate) fn on(server: &Arc<Server>) -> Arc<Self> {
        Arc::new(Self::Postgres(server.database()))
    }

    /// The same database on a replica that takes its server's place.
    pub(crate) fn on_promoted(&self, replica: &Arc<Server>) -> Arc<Self> {
        match self {
            Self::Postgres(database) => Arc::new(Self::Postgres(database.on(replica))),
            Self::Sqlite { .. } => panic!("SQLite has no replicas"),
        }
    }

    /// The same database on a replica of its server.
    pub(crate) fn url_on(&self, replica: &Server) -> String {
        match self {
            Self::Postgres(database) => database.url_on(replica),
            Self::Sqlite { .. } => panic!("SQLite has no replicas"),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite { folder } => {
                format!("sqlite://{}", folder.path().join("stockroom.db").display())
            }
            Self::Postgres(database) => database.url.clone(),
        }
    }

    /// What `sql` answers; PostgreSQL only.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let output = psql(&self.url(), sql);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8(output.stdout)
            .expect("it is UTF-8")
            .trim()
            .to_owned()
    }

    /// The server's settings for a store of this kind.
    pub(crate) fn store_config(&self) -> StoreConfig {
        StoreConfig {
            url: self.url(),
            migrate_at_start: MigrateAtStart::Always,
            ..Config::default().store
        }
    }

    /// What the books say, read beside any server.
    pub(crate) fn books(&self) -> Books {
        let mut config = self.store_config();
        // They read every row, beside whatever else a busy machine does.
        config.statement_timeout_ms = DEADLINE.as_millis() as u64;
        let read = async move {
            let store = Store::open(&config, Access::Read)
                .await
                .expect("the store is there");
            let books = store.check_books().await.expect("the books can be read");
            store.close().await;
            books
        };
        // On a thread of its own: the caller may be inside a runtime already.
        std::thread::scope(|scope| scope.spawn(|| runtime().block_on(read)).join())
            .expect("the books can be checked")
    }

    /// Fails unless every rule of the books holds.
    pub(crate) fn check_books(&self) {
        let books = self.books();
        assert!(books.balanced(), "the books do not balance: {books:#?}");
    }

    /// Fails if writers have ever waited for each other in a ring.
    pub(crate) fn check_no_deadlock(&self) {
        let Self::Postgres(database) = self else {
            return;
        };
        let log = database.log();
        let deadlock = log.lines().find(|line| line.contains("deadlock detected"));
        assert_eq!(deadlock, None, "{log}");
    }

    /// Fails if a connection has been left inside a transaction.
    pub(crate) fn check_no_idle_transaction(&self) {
        let Self::Postgres(_) = self else { return };
        const IDLE: &str = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        let deadline = Instant::now() + IDLE_DEADLINE;
        while self.sql(IDLE) != "0" {
            assert!(
                Instant::now() < deadline,
                "a connection is idle in a transaction"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
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
        Self::on(Home::new(kind), configure).await
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

/// Waits until `holds`, which may take until [`DEADLINE`].
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
