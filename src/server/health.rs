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
use crate::storage::{SchemaState, StorageError, Store};
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
}

impl Health {
    /// Not ready: tonic-health would begin with SERVING.
    pub(super) async fn new(reporter: HealthReporter) -> Self {
        let (ready, _) = watch::channel(false);
        let health = Self { reporter, ready };
        health.report(false).await;
        health
    }

    pub(super) async fn report(&self, ready: bool) {
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
    pub(super) fn observed(&self, counters: &Arc<Counters>) -> Observed {
        Observed {
            counters: Arc::clone(counters),
            ready: self.ready.subscribe(),
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
    let mut last = None;
    loop {
        let state = ready(config, store, gate, cache).await;
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

async fn ready(
    config: &Config,
    store: &Store,
    gate: &Gate,
    cache: Option<&Cache>,
) -> Result<SchemaState, StorageError> {
    // Once the schema has been seen, what can change is that the database is away, or
    // that it is another one, which has lost commits.
    if !gate.is_open() {
        match store.schema_state().await? {
            SchemaState::Behind(_) if config.store.migrates_at_start() => {
                let steps = store.migrate().await?;
                tracing::info!(steps, "migrated");
            }
            SchemaState::Current => {}
            state => return Ok(state),
        }
    }
    let store_id = store.store_id().await?;
    if let Some(cache) = cache {
        cache.serve(store_id);
    }
    Ok(SchemaState::Current)
}
