//! The port for those who look after a server: metrics and probes, over HTTP.
//!
//! Owns its connections and bounds them in number and in time, so that whoever
//! reaches this port can slow it down and nothing else. Promises that `/readyz`
//! says what gRPC health says. Leaves what is counted to `telemetry`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::Accepting;
use crate::telemetry::Counters;

/// A few scrapers and probes, each with a connection for each request.
const CONNECTIONS_MAX: usize = 32;

/// From the first byte of a request to the last of its answer. Prometheus gives
/// up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Prometheus' text format:
/// <https://prometheus.io/docs/instrumenting/exposition_formats/#basic-info>.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What can be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) counters: Arc<Counters>,
    /// Whether the server takes requests, as gRPC health says it.
    pub(crate) ready: watch::Receiver<bool>,
}

/// Answers on `listener` until dropped, and its connections with it.
pub(crate) async fn serve(listener: TcpListener, observed: Observed) -> Infallible {
    serve_within(listener, observed, CONNECTIONS_MAX, CONNECTION_TIMEOUT).await
}

async fn serve_within(
    listener: TcpListener,
    observed: Observed,
    connections_max: usize,
    connection_timeout: Duration,
) -> Infallible {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(observed);
    let mut accepting = Accepting::on(listener, "http.listen");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            stream = accepting.next(), if connections.len() < connections_max => {
                connections.spawn(timeout(connection_timeout, answer(stream, router.clone())));
            }
        }
    }
}

/// Answers one request. Its connection ends with it, so that a limit on one is
/// a limit on the other, and idle clients keep nobody out.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // An error is the client's: it went away, or it speaks no HTTP.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to http.listen ended early");
    }
}

async fn metrics(State(observed): State<Observed>) -> Response {
    let text = observed.counters.render();
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

/// That this is answered is the answer: the process lives and its tasks run.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(observed): State<Observed>) -> (StatusCode, &'static str) {
    if *observed.ready.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    #[tokio::test]
    async fn clients_that_say_nothing_keep_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_is_ready, ready) = watch::channel(true);
        let counters = Arc::default();
        let observed = Observed { counters, ready };
        let limit = Duration::from_millis(20);
        let serving = serve_within(listener, observed, 1, limit);
        let _serving = AbortOnDropHandle::new(tokio::spawn(serving));
        // The first takes the only place, the second its successor's.
        let mut silent = TcpStream::connect(address).await.unwrap();
        let _silent_too = TcpStream::connect(address).await.unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
        asking.write_all(request).await.unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let mut nothing = Vec::new();
        silent.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty());
    }
}
