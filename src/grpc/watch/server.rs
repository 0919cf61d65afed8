//! The service as the transport calls it: WatchStock is answered here, the rest
//! by the generated server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataValue};
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;
use tonic_prost::ProstCodec;
use tower::Service;

use super::super::stock::Inventory;
use super::Watching;
use super::session::Session;
use crate::proto::inventory_service_server::{InventoryServiceServer, SERVICE_NAME};
use crate::proto::{WatchStockRequest, WatchStockResponse};

/// The path of the method that is answered here.
const WATCH_STOCK: &str = "/stockroom.v1.InventoryService/WatchStock";

/// InventoryService, whole.
#[derive(Clone, Debug)]
pub(crate) struct InventoryServer {
    calls: InventoryServiceServer<Inventory>,
    watching: Arc<Watching>,
    message_bytes_max: usize,
}

impl InventoryServer {
    pub(crate) fn new(inventory: Inventory, watching: Watching, message_bytes_max: usize) -> Self {
        let calls = InventoryServiceServer::new(inventory);
        Self {
            calls: calls.max_decoding_message_size(message_bytes_max),
            watching: Arc::new(watching),
            message_bytes_max,
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
        Box::pin(async move {
            Ok(match begin(&watching, request, bytes_max).await {
                Ok(session) => streaming(session),
                Err(status) => status.into_http(),
            })
        })
    }
}

async fn begin(
    watching: &Arc<Watching>,
    request: http::Request<Body>,
    bytes_max: usize,
) -> Result<Session, Status> {
    let (parts, body) = request.into_parts();
    if let Some(encoding) = parts.headers.get("grpc-encoding")
        && encoding != "identity"
    {
        let mut status = Status::unimplemented("requests are taken uncompressed");
        let accepted = MetadataValue::from_static("identity");
        status
            .metadata_mut()
            .insert("grpc-accept-encoding", accepted);
        return Err(status);
    }
    let peer = parts.extensions.get::<TcpConnectInfo>();
    let peer: Option<SocketAddr> = peer.and_then(TcpConnectInfo::remote_addr);
    let decoder = ProstCodec::<WatchStockResponse, WatchStockRequest>::default().decoder();
    let mut messages = pin!(Streaming::new_request(decoder, body, None, Some(bytes_max)));
    let message = messages.message().await?;
    let message = message.ok_or_else(|| Status::internal("Missing request message."))?;
    // To its end, or the transport would think that the request was given up.
    messages.trailers().await?;
    Ok(watching.begin(message, peer).await?)
}

fn streaming(session: Session) -> http::Response<Body> {
    let mut response = http::Response::new(Body::new(session));
    let grpc: HeaderValue = GRPC_CONTENT_TYPE;
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}
