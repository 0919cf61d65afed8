//! `stockroom serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
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
/// `listening` has it as `address`, and as `files_max` how many files and connections the process
/// may have open: as many as its hard limit allows. Metrics and probes are on `http.listen`,
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
    let files_max = raise_files_max();
    let listeners = listen(&config, files_max).await?;
    let counters = Arc::new(Counters::default());
    server::run(config, listeners, counters, shutdown).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Raises the limit of open files to the highest that this process may have, and returns it: each
/// connection takes one, and behind a proxy each watch has its own. What systems begin with, often
/// 1,024, is for programs that use `select`; where no file is left probes are not answered either.
fn raise_files_max() -> u64 {
    let files = Resource::RLIMIT_NOFILE;
    let raised = getrlimit(files).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(files, hard, hard)?;
        }
        Ok(hard)
    });
    raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it is");
        getrlimit(files).map_or(0, |(soft, _)| soft)
    })
}

async fn listen(config: &Config, files_max: u64) -> anyhow::Result<Listeners> {
    let grpc = bind("server.listen", &config.server.listen).await?;
    let http = match config.http.address() {
        Some(address) => Some(bind("http.listen", address).await?),
        None => None,
    };
    tracing::info!(address = %grpc.local_addr()?, files_max, "listening");
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
