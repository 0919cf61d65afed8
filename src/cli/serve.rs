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
/// `listening` has it as `address`.
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
    let listen = config.server.listen.as_str();
    let grpc = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (server.listen)"))?;
    tracing::info!(address = %grpc.local_addr()?, "listening");
    server::run(
        config,
        Listeners { grpc },
        Arc::new(Counters::default()),
        shutdown,
    )
    .await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
