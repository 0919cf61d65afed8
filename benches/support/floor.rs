//! Floors: the messages of the real server with nothing behind them.
//!
//! They run in a process of their own, as the real server does, on that server's transport
//! settings, layers, runtime and allocator, so that what is left to tell the two apart is
//! the work that a call asks for.

use anyhow::Context as _;
use serde_json::json;
use stockroom::config::Config;
use stockroom::proto::order_service_server::{OrderService, OrderServiceServer};
use stockroom::proto::{
    CancelOrderRequest, CancelOrderResponse, ConfirmOrderRequest, ConfirmOrderResponse,
    CreateOrderRequest, CreateOrderResponse, ExtendHoldRequest, ExtendHoldResponse,
    GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse,
};
use stockroom::server::{runtime, transport};
use stockroom::telemetry::Counters;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A time with microseconds, as the server's clock has them.
pub(crate) const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_764_000_000,
    nanos: 123_456_000,
};

/// Serves what `services` makes in the server's runtime, and health, until the process is
/// ended. Says where on stderr, as the real server does in its log.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve(services: impl FnOnce() -> Routes) -> anyhow::Result<()> {
    let config = Config::default().server;
    runtime(&config)
        .context("cannot start the runtime")?
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            eprintln!("{}", json!({ "message": "listening", "address": address }));
            let (_, health) = tonic_health::server::health_reporter();
            transport(&config, &Counters::default())
                .add_routes(services().add_service(health))
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .context("the floor failed")
        })
}

/// The service of orders of which nothing but CreateOrder is there.
pub(crate) fn orders<C>(create_order: C) -> OrderServiceServer<Orders<C>> {
    let config = Config::default().server;
    OrderServiceServer::new(Orders(create_order))
        .max_decoding_message_size(config.message_bytes_max)
}

/// Knows its function by its type, so that calling it costs nothing.
pub(crate) struct Orders<C>(C);

/// What a call is answered.
pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// To calls that no bench makes.
pub(crate) fn not_here<T>() -> Answer<T> {
    Err(Status::unimplemented("the floor has nothing of that"))
}

#[tonic::async_trait]
impl<C> OrderService for Orders<C>
where
    C: Fn(CreateOrderRequest) -> Result<CreateOrderResponse, Status> + Send + Sync + 'static,
{
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Answer<CreateOrderResponse> {
        self.0(request.into_inner()).map(Response::new)
    }

    async fn confirm_order(&self, _: Request<ConfirmOrderRequest>) -> Answer<ConfirmOrderResponse> {
        not_here()
    }

    async fn cancel_order(&self, _: Request<CancelOrderRequest>) -> Answer<CancelOrderResponse> {
        not_here()
    }

    async fn extend_hold(&self, _: Request<ExtendHoldRequest>) -> Answer<ExtendHoldResponse> {
        not_here()
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Answer<GetOrderResponse> {
        not_here()
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Answer<ListOrdersResponse> {
        not_here()
    }
}
