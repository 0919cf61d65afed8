//! The engine: the one writer of stock.
//!
//! Owns the queue of writes, the batches made of it, and the retries of an order
//! that met a conflict. Promises that an answer leaves only after its commit and
//! that an order is tried a bounded number of times in a bounded time. Leaves
//! durability to `storage` and fan-out to whoever set `on_commit`.

mod batch;
mod command;
mod commit;
mod database_clock;
mod delete;
mod locking;
mod memory;
mod metering;
mod orders;
pub mod plan;
mod products;
mod queue;
mod reclaim;
#[cfg(test)]
mod samples;
mod single;
mod strangers;
mod validate;

pub use command::{Command, Done, Prepared};
pub use products::ProductsPut;

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_retry::RetryIf;
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use self::database_clock::DatabaseClock;
use self::locking::Guarding;
use self::memory::Memory;
use self::orders::{Questions, read_forever};
use self::plan::Events;
use self::queue::{Queued, Room};
use crate::config::{Config, EngineConfig};
use crate::domain::{LevelKey, StockLevel, Trace};
use crate::error::Error;
use crate::storage::Store;
use crate::telemetry::Counters;

/// What a commit did to levels, which are as they are now.
#[derive(Debug, Clone, Copy)]
pub enum Committed<'a> {
    /// They have new versions.
    Changed(&'a [StockLevel]),
    /// So they have, and their product is gone.
    Deleted(&'a [StockLevel]),
}

impl<'a> Committed<'a> {
    /// The levels.
    pub fn levels(self) -> &'a [StockLevel] {
        match self {
            Self::Changed(levels) | Self::Deleted(levels) => levels,
        }
    }
}

/// What is told of every commit.
type OnCommit = Box<dyn Fn(Committed<'_>) + Send + Sync>;

/// What every commit needs.
struct Context {
    store: Store,
    config: EngineConfig,
    guarding: Guarding,
    events: Events,
    counters: Arc<Counters>,
    on_commit: OnCommit,
    memory: Memory,
    /// Commits that may be under way at once.
    lanes: Arc<Semaphore>,
    /// Runs the transactions: apart from the callers, which may hang up, and on a
    /// thread of their own. On the runtime of the callers each step of a commit
    /// would queue behind hundreds of them: milliseconds, a dozen times a batch.
    tasks: TaskTracker,
    runtime: Handle,
    /// The runtime of the callers.
    callers: Handle,
}

impl Context {
    /// To be called when `batch` has waited long enough.
    fn begins(&self, batch: &[Queued]) {
        // The front of the queue has waited longest; what the engine does by itself waits for nobody.
        if let Some(first) = batch.iter().find(|queued| !queued.is_of_engine()) {
            self.counters.queue.wait.record_time(first.since.elapsed());
        }
    }

    /// To be called for each conflict. Where no level is known to have moved on, it is with an
    /// answer to the same request, and no lock on a level would have kept it away.
    fn conflicted(&self, levels: &[LevelKey]) {
        self.counters.conflicts.add(1);
        if !levels.is_empty() && self.guarding.conflicted() {
            let locks = &self.counters.locks;
            locks.escalations.add(1);
            // Every other second where two instances sell one product, as they may for hours.
            tracing::debug!("conflicts are frequent; levels are locked for a while");
            // There may be no batch that would notice the end of it.
            let escalated = locks.escalated.clone();
            self.runtime.spawn(async move {
                tokio::time::sleep(locking::optimistic::LOCKED).await;
                escalated.set(0);
            });
        }
    }
}

/// A handle on the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    queue: mpsc::UnboundedSender<Queued>,
    products_waiting: Arc<Semaphore>,
    /// Orders whose lines callers wait for.
    orders: Arc<Questions>,
    _reading: Arc<AbortOnDropHandle<()>>,
    clock: Arc<DatabaseClock>,
    context: Arc<Context>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts an engine on `store`; `events` says whether commits tell other systems of
    /// themselves. `on_commit` is called once for each commit, before any of its answers
    /// leaves, and must not block. To be called on the runtime of the callers.
    ///
    /// # Errors
    /// The system gives no thread, or the guard cannot be made as it is configured.
    pub fn start(
        store: Store,
        config: &Config,
        events: Events,
        counters: Arc<Counters>,
        on_commit: impl Fn(Committed<'_>) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let lanes = lanes(&store, &config.engine, config.store.pool_max);
        let (queue, queued) = mpsc::unbounded_channel();
        let guarding = {
            let _committing = runtime.enter();
            Guarding::new(config, &counters)?
        };
        let context = Arc::new(Context {
            store,
            config: config.engine.clone(),
            guarding,
            events,
            counters,
            on_commit: Box::new(on_commit),
            memory: Memory::default(),
            lanes: Arc::new(Semaphore::new(lanes)),
            tasks: TaskTracker::new(),
            runtime: runtime.handle().clone(),
            callers: Handle::current(),
        });
        let stop = CancellationToken::new();
        let run = {
            let (context, stop) = (Arc::clone(&context), stop.clone());
            async move {
                let working = Arc::clone(&context);
                let work = Box::pin(async {
                    if working.config.batch_orders_max > 1 {
                        batch::run(queued, working).await;
                    } else {
                        single::run(queued, working).await;
                    }
                });
                stop.run_until_cancelled(work).await;
                context.tasks.close();
                context.tasks.wait().await;
            }
        };
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let _ends = ends;
                runtime.block_on(run);
            })?;
        let orders = Arc::default();
        let reading = read_forever(context.store.clone(), Arc::clone(&orders));
        // A panic there is the end of the whole.
        let ends = ended.clone().drop_guard();
        let reading = tokio::spawn(async move {
            let _ends = ends;
            reading.await;
        });
        Ok(Self {
            queue,
            orders,
            _reading: Arc::new(AbortOnDropHandle::new(reading)),
            clock: Arc::default(),
            products_waiting: Arc::new(Semaphore::new(products::WAITING_MAX)),
            context,
            stop,
            ended,
        })
    }

    /// Resolves when nothing is committed any more, or orders are not read: after a drain, or
    /// a panic.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Carries out `command`, which `trace` may have asked for: queues it, and again after each conflict, with a
    /// backoff of full jitter between the attempts.
    ///
    /// # Errors
    /// [`Error::StockContention`] when the attempts or their time are spent,
    /// [`Error::Overloaded`] when the queue is full, and whatever speaks against
    /// the command itself.
    pub async fn submit(&self, mut command: Command, trace: Option<Trace>) -> Result<Done, Error> {
        let lines = command.lines();
        let mut room = None;
        if let Some(hold) = command.hold() {
            // Whoever waits for the clock waits in the queue.
            room = Some(self.room(lines)?);
            hold.begin(self.clock.now(&self.context.store).await?);
        }
        let mut prepared = Prepared::from(command);
        if let Some(trace) = trace {
            prepared.trace = trace;
        }
        let prepared = Arc::new(prepared);
        self.with_retries(|| self.attempt(&prepared, room.take()))
            .await
    }

    fn room(&self, lines: usize) -> Result<Room, Error> {
        let context = &self.context;
        Room::claim(lines, &context.config, &context.counters.queue)
    }

    async fn attempt(&self, prepared: &Arc<Prepared>, room: Option<Room>) -> Result<Done, Error> {
        let room = match room {
            Some(room) => room,
            None => self.room(prepared.command.lines())?,
        };
        let (reply, answer) = oneshot::channel();
        let queued = Queued::new(Arc::clone(prepared), reply, room);
        self.queue.send(queued).map_err(|_| Error::Draining)?;
        // A commit task that vanishes has panicked; what it did is not known.
        answer.await.unwrap_or(Err(Error::StoreUnavailable(None)))
    }

    /// Retries `attempt` while it meets conflicts, within the bounds of the configuration.
    async fn with_retries<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let config = &self.context.config;
        let deadline = Instant::now() + config.retry_total();
        let mut attempts = 0;
        let attempts_of = &self.context.counters.commit.attempts;
        let done = RetryIf::start(
            backoff(config).take(config.retry_attempts_max.saturating_sub(1) as usize),
            || {
                attempts += 1;
                attempt()
            },
            |e: &Error| matches!(e, Error::StockContention { .. }) && Instant::now() < deadline,
        )
        .await;
        attempts_of.record(attempts.into());
        match done {
            Err(Error::StockContention { .. }) => {
                self.context.counters.contention_exhausted.add(1);
                Err(Error::StockContention { attempts })
            }
            other => other,
        }
    }

    /// Takes nothing more off the queue and waits for the commits under way. To be
    /// called when nobody waits for an answer any more.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.context.tasks.close();
        self.context.tasks.wait().await;
    }
}

/// Delays that double from `retry_backoff_ms`, each shortened at random ("full
/// jitter", <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter>),
/// so that orders that met do not meet again.
fn backoff(config: &EngineConfig) -> impl Iterator<Item = Duration> + use<> {
    // The n-th delay is factor × 2^n, so the first is twice the factor.
    ExponentialBackoff::from_millis(2)
        .factor(config.retry_backoff_ms.div_ceil(2))
        .max_delay(Duration::from_millis(config.retry_backoff_max_ms))
        .map(jitter)
}

/// How many commits may be under way at once. One while batching: a second lane
/// would conflict with the first on every hot level. Without batches the
/// connections are what is shared.
fn lanes(store: &Store, config: &EngineConfig, pool_max: u32) -> usize {
    if !store.is_shared() || config.batch_orders_max > 1 {
        1
    } else if config.commits_in_flight_max > 0 {
        config.commits_in_flight_max
    } else {
        pool_max as usize
    }
}
