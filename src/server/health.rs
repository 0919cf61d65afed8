//! Whether this server takes requests: told over gRPC and over HTTP, and kept true.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::cache::Cache;
use crate::config::Config;
use crate::error::chain;
use crate::grpc::Gate;
use crate::http::Observed;
use crate::storage::{Presence, SchemaState, StorageError, Store};
use crate::telemetry::Counters;

/// What health is reported for: the server as a whole and each service.
const HEALTH_NAMES: [&str; 3] = [
    "",
    "stockroom.v1.OrderService",
    "stockroom.v1.InventoryService",
];

/// How often the database is asked whether it is there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Whether this server takes requests, told over gRPC and over HTTP alike.
pub(super) struct Health {
    reporter: HealthReporter,
    ready: watch::Sender<bool>,
    counters: Arc<Counters>,
}

impl Health {
    /// Not ready: tonic-health would begin with SERVING.
    pub(super) async fn new(reporter: HealthReporter, counters: &Arc<Counters>) -> Self {
        let (ready, _) = watch::channel(false);
        let health = Self {
            reporter,
            ready,
            counters: Arc::clone(counters),
        };
        health.report(false).await;
        health
    }

    pub(super) async fn report(&self, ready: bool) {
        self.ready.send_replace(ready);
        self.counters.ready.set(ready.into());
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
    pub(super) fn observed(&self) -> Observed {
        Observed {
            counters: Arc::clone(&self.counters),
            ready: self.ready.subscribe(),
        }
    }
}

/// How the database was found, in the words of the log: what is not the same as before is
/// said, and once.
#[derive(PartialEq, Eq)]
enum Found {
    Ready,
    /// So many steps of the schema are missing.
    Behind(usize),
    Away(String),
    /// It answers, but not what it is asked.
    Failing(String),
}

impl Found {
    fn by(error: &StorageError) -> Self {
        match error {
            StorageError::Failed(_) => Self::Failing(chain(error)),
            StorageError::Unavailable(_)
            | StorageError::CommitUnknown(_)
            | StorageError::Conflict { .. } => Self::Away(chain(error)),
        }
    }

    fn say(&self) {
        match self {
            Self::Ready => tracing::info!("serving"),
            // PostgreSQL shows a role no table that it has no right to.
            Self::Behind(steps) => tracing::warn!(
                steps,
                "waiting for `stockroom migrate`, or this role may not see its tables"
            ),
            Self::Away(error) => tracing::warn!(error, "the database is not reachable"),
            Self::Failing(error) => {
                tracing::warn!(error, "the database is reachable and cannot be used");
            }
        }
    }
}

/// Never returned: [`keep_ready`] ends with an error or not at all.
pub(super) enum Never {}

/// Brings the schema up where the configuration says so, waits for it where it
/// does not, and then keeps the reported health true.
pub(super) async fn keep_ready(
    config: &Config,
    store: &Store,
    gate: &Gate,
    health: &Health,
    cache: Option<&Cache>,
) -> anyhow::Result<Never> {
    // A connection and a statement may each take all of their time.
    let patience = config.store.acquire_timeout() + config.store.statement_timeout();
    let mut presence = store.presence(patience);
    let mut last = None;
    loop {
        let found = match ready(config, store, &mut presence, gate, cache).await {
            Ok(SchemaState::Unknown(why)) => {
                anyhow::bail!("the database's schema is not one that this program knows: {why}")
            }
            Ok(SchemaState::Current) => {
                gate.open();
                Found::Ready
            }
            Ok(SchemaState::Behind(steps)) => Found::Behind(steps),
            Err(error) => Found::by(&error),
        };
        if last.as_ref() != Some(&found) {
            found.say();
            let (was_ready, is_ready) = (last == Some(Found::Ready), found == Found::Ready);
            if is_ready != was_ready {
                health.report(is_ready).await;
            }
            last = Some(found);
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}

async fn ready(
    config: &Config,
    store: &Store,
    presence: &mut Presence,
    gate: &Gate,
    cache: Option<&Cache>,
) -> Result<SchemaState, StorageError> {
    // Once the schema has been seen, what can change is that the database is away, or
    // that it is another one, which has lost commits.
    if !gate.is_open() {
        match presence.schema_state().await? {
            SchemaState::Behind(_) if config.store.migrates_at_start() => {
                let steps = store.migrate().await?;
                tracing::info!(steps, "migrated");
            }
            SchemaState::Current => {}
            state => return Ok(state),
        }
    }
    let store_id = presence.store_id().await?;
    if let Some(cache) = cache {
        cache.serve(store_id);
    }
    Ok(SchemaState::Current)
}
