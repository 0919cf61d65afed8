//! `stockroom serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use super::shutdown;
use crate::config::Config;
use crate::server::{self, Listeners};
use crate::telemetry::Counters;

/// Serve orders, stock and watches over gRPC
///
/// Serves until SIGTERM or SIGINT, then answers `DRAINING` to what is new, lets
/// calls under way end within `server.drain_timeout_ms`, and exits 0. A second
/// signal ends it at once with 130; no acknowledged write is lost either way.
///
/// Listens on `server.listen`. With port 0 the system chooses one; the log line
/// `listening` has it as `address`. Metrics and probes are on `http.listen`,
/// which the log line `listening for scrapes` tells.
///
/// Examples:
///
///   # Embedded SQLite, ./stockroom.db, on 127.0.0.1:50051
///   stockroom serve
///
///   # PostgreSQL, reachable from other machines; migrate first
///   export STOCKROOM_STORE_URL=postgres://stockroom:secret@db/stockroom
///   stockroom migrate
///   stockroom serve --listen 0.0.0.0:50051
///
///   # Without batching, to see what batching gains
///   stockroom serve --set engine.batch_orders_max=1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ServeArgs {}

pub(super) async fn run(_args: ServeArgs, config: Config) -> anyhow::Result<ExitCode> {
    // Before anything else, so that a signal during a long migration is not lost.
    let shutdown = shutdown::requested()?;
    let listeners = listen(&config).await?;
    let counters = Arc::new(Counters::default());
    server::run(config, listeners, counters, shutdown).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn listen(config: &Config) -> anyhow::Result<Listeners> {
    let grpc = bind("server.listen", &config.server.listen).await?;
    let http = match config.http.address() {
        Some(address) => Some(bind("http.listen", address).await?),
        None => None,
    };
    tracing::info!(address = %grpc.local_addr()?, "listening");
    if let Some(http) = &http {
        tracing::info!(address = %http.local_addr()?, "listening for scrapes");
    }
    Ok(Listeners { grpc, http })
}

async fn bind(key: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({key})"))
}
