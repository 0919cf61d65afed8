//! The way to Redis: one connection, to a server or to a cluster, that gives up early.
//!
//! Owns the connection, the time that an answer may take, and the breaker. Promises
//! that nobody waits for a Redis that is not there: without a connection a question
//! fails at once, and none takes longer than `redis.timeout_ms`. One that takes no writes
//! counts as not there: what lies in it only gets older. One task connects, and again
//! after the breaker opened; callers never do. Leaves to `cache` and `locks` what is
//! asked, and to them to do without.

mod locks;

pub(crate) use locks::{Held, Locks};

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisFuture, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::config::RedisConfig;
use crate::error::chain;
use crate::lock::lock;
use crate::telemetry;

/// How long connecting may take: some round trips to another data centre. Nobody waits
/// for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Times that a cluster's client asks again after a redirection or a refusal, of which
/// the first comes with every slot that moves.
const CLUSTER_RETRIES: u32 = 2;

/// Begins every key: the program, and the form of what it keeps. A program that keeps
/// something in another form gives it another number.
const KEY_PREFIX: &str = "stockroom:1";

/// Redis did not answer; whoever asked does without.
#[derive(Debug, thiserror::Error)]
#[error("Redis does not answer")]
pub(crate) struct Unanswered;

/// A handle on the connection; clones share it. The last one ends it.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    _keeper: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    target: Target,
    config: RedisConfig,
    state: Mutex<State>,
    /// The connection was given up.
    broken: Notify,
    connected: watch::Sender<bool>,
    metrics: telemetry::RedisLink,
}

enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Default)]
struct State {
    /// None while the breaker is open.
    connection: Option<Connection>,
    /// Counts the connections, so that a late failure of an old one breaks no new one.
    generation: u64,
    /// Answers in a row that did not come; of questions asked at once all are one.
    failures: u32,
}

impl Link {
    /// Begins to connect, on this runtime, which then serves the connection.
    ///
    /// # Errors
    /// A URL is none that Redis' client understands.
    pub(crate) fn start(
        config: &RedisConfig,
        metrics: telemetry::RedisLink,
    ) -> anyhow::Result<Self> {
        let target = if config.is_cluster() {
            let builder = ClusterClient::builder(config.client_urls())
                .retries(CLUSTER_RETRIES)
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(config.timeout());
            Target::Cluster(Box::new(builder.build()?))
        } else {
            let url = config.client_urls().next().unwrap_or_default();
            Target::Server(Box::new(Client::open(url)?))
        };
        let shared = Arc::new(Shared {
            target,
            config: config.clone(),
            state: Mutex::default(),
            broken: Notify::new(),
            connected: watch::Sender::new(false),
            metrics,
        });
        let keeper = tokio::spawn(keep_connected_forever(Arc::clone(&shared)));
        Ok(Self {
            shared,
            _keeper: Arc::new(AbortOnDropHandle::new(keeper)),
        })
    }

    /// Whether a question takes only keys that one server has: the keys of a cluster are
    /// spread, and a question about several is one for each.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.shared.target, Target::Cluster(_))
    }

    /// Whether Redis is asked at all.
    pub(crate) fn is_connected(&self) -> bool {
        *self.shared.connected.borrow()
    }

    /// Waits until Redis is asked again.
    pub(crate) async fn connected(&self) {
        let mut connected = self.shared.connected.subscribe();
        // The sender lives as long as `self`.
        let _ = connected.wait_for(|is| *is).await;
    }

    /// The time that an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.config.timeout()
    }

    /// Asks, within the time that an answer may take.
    ///
    /// # Errors
    /// There is no connection, or no answer of use came in time.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unanswered> {
        self.ask_until(command, Instant::now() + self.timeout())
            .await
    }

    /// Asks, until `deadline`.
    ///
    /// # Errors
    /// As of [`Link::ask`].
    pub(crate) async fn ask_until<T: FromRedisValue>(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<T, Unanswered> {
        let Some((generation, connection)) = self.shared.connection() else {
            return Err(Unanswered);
        };
        let error = match timeout_at(deadline, connection.answer(command)).await {
            Ok(Ok(answer)) => {
                self.shared.succeeded();
                return Ok(answer);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        self.shared.failed(generation, 1, error.as_ref());
        Err(Unanswered)
    }

    /// Asks several questions at once, until `deadline`; once one is answered, the others
    /// have `patience` and no longer. Answers come in the order of `commands`.
    ///
    /// The breaker judges them together, for they may be for several servers of a cluster,
    /// of which one is away: only if none is answered they are a failure, and one.
    pub(crate) async fn ask_each<T: FromRedisValue>(
        &self,
        commands: &[Cmd],
        mut deadline: Instant,
        patience: Duration,
    ) -> Vec<Result<T, Unanswered>> {
        let mut answers: Vec<_> = commands.iter().map(|_| Err(Unanswered)).collect();
        let Some((generation, connection)) = self.shared.connection() else {
            return answers;
        };
        let mut asked = FuturesUnordered::new();
        for (place, command) in commands.iter().enumerate() {
            let connection = connection.clone();
            asked.push(async move { (place, connection.answer::<T>(command).await) });
        }
        let (mut left, mut last_error) = (commands.len(), None);
        while let Ok(Some((place, answer))) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok(answer) => {
                    answers[place] = Ok(answer);
                    left -= 1;
                    deadline = deadline.min(Instant::now() + patience);
                }
                Err(error) => last_error = Some(error),
            }
        }
        if left < commands.len() {
            self.shared.metrics.failures.add(left as u64);
            self.shared.succeeded();
        } else if left > 0 {
            self.shared.failed(generation, left, last_error.as_ref());
        }
        answers
    }
}

/// The name of something of the store `store_id`: what another store keeps, or the same
/// one before it lost commits, has another name.
pub(crate) fn key_prefix(store_id: Uuid, kind: &str) -> String {
    format!("{KEY_PREFIX}:{}:{kind}:", store_id.simple())
}

impl Connection {
    /// An answer of the form that is expected.
    async fn answer<T: FromRedisValue>(mut self, command: &Cmd) -> Result<T, RedisError> {
        let answer = self.ask(command).await?;
        T::from_redis_value(answer).map_err(RedisError::from)
    }

    async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        use redis::aio::ConnectionLike as _;
        let asked = match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        };
        // What the server says to what it refuses comes as a value.
        match asked.await? {
            Value::ServerError(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }
}

impl Shared {
    fn connection(&self) -> Option<(u64, Connection)> {
        let state = lock(&self.state);
        Some((state.generation, state.connection.clone()?))
    }

    fn succeeded(&self) {
        let mut state = lock(&self.state);
        state.failures = 0;
    }

    /// Counts `questions` that were asked at once and not answered, as one failure; the
    /// one too many, or a server that is of no use, opens the breaker.
    fn failed(&self, generation: u64, questions: usize, error: Option<&RedisError>) {
        self.metrics.failures.add(questions as u64);
        let mut state = lock(&self.state);
        if state.generation != generation || state.connection.is_none() {
            return;
        }
        state.failures += 1;
        // A cluster's client connects anew by itself, server by server.
        let is_broken = matches!(self.target, Target::Server(_)) && error.is_some_and(is_of_no_use);
        if is_broken || state.failures >= self.config.breaker_failures_max {
            state.connection = None;
            drop(state);
            self.connected.send_replace(false);
            self.metrics.open.set(1);
            let error = error.map_or_else(|| "no answer in time".to_owned(), |e| chain(e));
            tracing::warn!(error, "Redis is not asked for a while");
            self.broken.notify_one();
        }
    }

    fn install(&self, connection: Connection) {
        let mut state = lock(&self.state);
        state.connection = Some(connection);
        state.generation += 1;
        state.failures = 0;
        drop(state);
        self.metrics.open.set(0);
        self.connected.send_replace(true);
    }

    /// Connects and sees that questions are answered in time, and writes are taken.
    async fn connect(&self) -> Result<Connection, String> {
        let connecting: RedisFuture<'_, Connection> = match &self.target {
            Target::Server(client) => Box::pin(async {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    // Ours is shorter, and ends what was asked too.
                    .set_response_timeout(None);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Connection::Server(connection.await?))
            }),
            Target::Cluster(client) => {
                Box::pin(async { Ok(Connection::Cluster(client.get_async_connection().await?)) })
            }
        };
        let text = |e: RedisError| chain(&e);
        let mut connection = within(CONNECT_TIMEOUT, connecting).await?.map_err(text)?;
        // Another key each time: of a cluster, a part may be away.
        let probe = format!("{KEY_PREFIX}:probe:{}", Uuid::now_v7().simple());
        let mut command = Cmd::new();
        command.arg("SET").arg(probe).arg("").arg("PX").arg(1);
        let answer = within(self.config.timeout(), connection.ask(&command)).await?;
        answer.map_err(text)?;
        Ok(connection)
    }
}

/// Whether a server that is alone has to be left after an error: the connection is gone, or
/// the server refuses what it is asked, be it full, loading, or a replica by now. What is
/// wrong with one key (`WRONGTYPE`), or in a script (`ERR`), says nothing of the others.
fn is_of_no_use(error: &RedisError) -> bool {
    let is_refusal = error
        .code()
        .is_some_and(|code| !matches!(code, "WRONGTYPE" | "ERR"));
    error.is_connection_dropped() || error.is_unrecoverable_error() || is_refusal
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    let in_time = timeout(limit, work).await;
    in_time.map_err(|_| "no answer in time".to_owned())
}

/// Connects, and again whenever the breaker has opened.
async fn keep_connected_forever(shared: Arc<Shared>) {
    shared.metrics.open.set(1);
    let mut last: Option<bool> = None;
    loop {
        match shared.connect().await {
            Ok(connection) => {
                shared.install(connection);
                tracing::info!("Redis is asked");
                last = Some(true);
                shared.broken.notified().await;
            }
            Err(error) => {
                if last != Some(false) {
                    tracing::warn!(error, "Redis cannot be reached");
                }
                last = Some(false);
            }
        }
        sleep(shared.config.breaker_pause()).await;
    }
}
