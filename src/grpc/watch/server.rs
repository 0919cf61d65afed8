//! The service as the transport calls it: WatchStock is answered here, the rest
//! by the generated server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;
use tonic_prost::ProstCodec;
use tower::Service;

use super::super::status::{request_compressed, request_late, request_missing};
use super::super::stock::Inventory;
use super::Watching;
use super::session::Session;
use crate::config::ServerConfig;
use crate::proto::inventory_service_server::{InventoryServiceServer, SERVICE_NAME};
use crate::proto::{WatchStockRequest, WatchStockResponse};

/// The path of the method that is answered here.
pub(crate) const WATCH_STOCK: &str = "/stockroom.v1.InventoryService/WatchStock";

/// A request that names 100,000 levels may be on its way for as many times as long as another:
/// some 4 MB, in a minute by default.
const REQUEST_TIMEOUTS: u32 = 6;

/// InventoryService, whole.
#[derive(Clone)]
pub(crate) struct InventoryServer {
    calls: InventoryServiceServer<Inventory>,
    watching: Arc<Watching>,
    message_bytes_max: usize,
    /// With a request of a watch.
    patience: Duration,
}

impl InventoryServer {
    pub(crate) fn new(inventory: Inventory, watching: Watching, config: &ServerConfig) -> Self {
        let calls = InventoryServiceServer::new(inventory);
        Self {
            calls: calls.max_decoding_message_size(config.message_bytes_max),
            watching: Arc::new(watching),
            message_bytes_max: config.message_bytes_max,
            patience: config.request_timeout() * REQUEST_TIMEOUTS,
        }
    }
}

impl NamedService for InventoryServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for InventoryServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <_ as Service<http::Request<Body>>>::poll_ready(&mut self.calls, cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != WATCH_STOCK {
            return self.calls.call(request);
        }
        let (watching, bytes_max) = (Arc::clone(&self.watching), self.message_bytes_max);
        let patience = self.patience;
        Box::pin(async move {
            // Of this alone: to begin a watch of very many levels may take its time.
            let message = timeout(patience, message_of(request, bytes_max)).await;
            let session = match message.unwrap_or_else(|_| Err(request_late())) {
                Ok((message, peer)) => watching.begin(message, peer).await.map_err(Status::from),
                Err(status) => Err(status),
            };
            Ok(session.map_or_else(Status::into_http, streaming))
        })
    }
}

/// Waits for the message of `request`; and where it comes from.
async fn message_of(
    request: http::Request<Body>,
    bytes_max: usize,
) -> Result<(WatchStockRequest, Option<SocketAddr>), Status> {
    let (parts, body) = request.into_parts();
    if let Some(encoding) = parts.headers.get("grpc-encoding")
        && encoding != "identity"
    {
        return Err(request_compressed());
    }
    let peer = parts.extensions.get::<TcpConnectInfo>();
    let peer = peer.and_then(TcpConnectInfo::remote_addr);
    let decoder = ProstCodec::<WatchStockResponse, WatchStockRequest>::default().decoder();
    let mut messages = pin!(Streaming::new_request(decoder, body, None, Some(bytes_max)));
    let message = messages.message().await?;
    let message = message.ok_or_else(request_missing)?;
    // To its end, or the transport would think that the request was given up.
    messages.trailers().await?;
    Ok((message, peer))
}

fn streaming(session: Session) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(session));
    let grpc: HeaderValue = GRPC_CONTENT_TYPE;
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}
