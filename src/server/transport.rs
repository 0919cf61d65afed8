//! What calls come in on: the runtime, the transport, and the services behind it.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::time::{sleep, timeout};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use crate::accept::Accepting;
use crate::config::{Config, ServerConfig};
use crate::engine::Engine;
use crate::grpc::{DeadlineLayer, Inventory, InventoryServer, Orders, Watching};
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::order_service_server::OrderServiceServer;
use crate::reads::Reads;
use crate::storage::Store;
use crate::telemetry::Counters;

/// Flow-control windows. One order is a few hundred bytes, and a connection
/// carries hundreds at a time; the default of 64 KiB would stall it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Streams that a peer may make the server reset before it is cut off
/// (RUSTSEC-2024-0003).
const LOCAL_RESETS_MAX: usize = 1_024;

/// Connections that may be silent at a time before no other is taken: as many as there are
/// ports at one address to come from.
const SILENT_CONNECTIONS_MAX: usize = 65_536;

/// What a caller begins a connection with has so many bytes:
/// <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const PREFACE_BYTES: usize = 24;

/// Until the rest of a preface is looked for of which a part has come, as it hardly ever does.
const PART_PAUSE: Duration = Duration::from_millis(10);

/// What lies between the transport and every service.
type Layers = Stack<DeadlineLayer, Identity>;

/// Orders, inventory and what describes them.
pub(super) fn add_services(
    router: Router<Layers>,
    config: &Config,
    engine: &Engine,
    store: &Store,
    reads: Reads,
    watching: Watching,
) -> anyhow::Result<Router<Layers>> {
    let orders = Orders {
        engine: engine.clone(),
        reads: reads.clone(),
        store: store.clone(),
        gate: Arc::clone(&watching.gate),
        hold_max: config.holds.length_max(),
        counters: Arc::clone(&watching.counters),
    };
    let inventory = Inventory {
        engine: engine.clone(),
        reads,
        store: store.clone(),
        gate: Arc::clone(&watching.gate),
        counters: Arc::clone(&watching.counters),
    };
    let bytes_max = config.server.message_bytes_max;
    let inventory = InventoryServer::new(inventory, watching, &config.server);
    Ok(router
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(OrderServiceServer::new(orders).max_decoding_message_size(bytes_max))
        .add_service(inventory))
}

/// The runtime that a server is made for. A single worker takes woken tasks in turn: the
/// answers of a batch are all written before its connections are, which then send them
/// together. Several workers run what was woken last first, and send one by one.
///
/// # Errors
/// The system gives no threads.
pub fn runtime(config: &ServerConfig) -> io::Result<Runtime> {
    let mut builder = match config.worker_threads() {
        1 => runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build()
}

/// The connections that come to the port of gRPC and begin within `patience`, as HTTP/2 does:
/// with the caller's words. Nothing behind this ends one that never has them.
pub(super) fn incoming(
    listener: TcpListener,
    patience: Duration,
) -> impl Stream<Item = io::Result<TcpStream>> {
    let accepting = Accepting::on(listener, "server.listen");
    let accepted = stream::unfold(accepting, async |mut accepting| {
        let stream = accepting.next().await;
        Some((stream, accepting))
    });
    let begun = accepted.map(move |stream| async move {
        let begun = timeout(patience, begins(&stream)).await.ok()?;
        let ready = begun.and_then(|()| stream.set_nodelay(true));
        Some(ready.map(|()| stream))
    });
    let begun = begun.buffer_unordered(SILENT_CONNECTIONS_MAX);
    begun.filter_map(future::ready)
}

/// Waits until all of the preface has come, or the end, and leaves it where it is.
async fn begins(stream: &TcpStream) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    loop {
        match stream.peek(&mut preface).await? {
            0 | PREFACE_BYTES => return Ok(()),
            // There is something to look at all the while.
            _ => sleep(PART_PAUSE).await,
        }
    }
}

/// The transport settings and layers that every Stockroom server has. Also what
/// the bench's echo server stands on, so that the two can be compared.
pub fn transport(config: &ServerConfig, counters: &Counters) -> Server<Layers> {
    let deadlines = DeadlineLayer::new(config.request_timeout(), counters.unanswered.clone());
    Server::builder()
        .http2_keepalive_interval(Some(config.keepalive_interval()))
        .http2_keepalive_timeout(Some(config.keepalive_timeout()))
        // Without a grace: with one the connection would be cut, and no GOAWAY sent.
        .max_connection_age(config.connection_age_max())
        .max_concurrent_streams(config.concurrent_streams_max)
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(deadlines)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The details of errors, so that grpcurl can show them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
