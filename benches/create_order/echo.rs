//! The floor: CreateOrder with nothing behind it.
//!
//! Runs in a process of its own, as the real server does, with that server's
//! transport settings, layers, runtime and allocator. Answers each order with a
//! response of the same size as the real one, so that what is left to tell the
//! two apart is the work on the order itself.

use anyhow::Context as _;
use serde_json::json;
use stockroom::config::Config;
use stockroom::proto::order_service_server::{OrderService, OrderServiceServer};
use stockroom::proto::{
    CancelOrderRequest, CancelOrderResponse, ConfirmOrderRequest, ConfirmOrderResponse,
    CreateOrderRequest, CreateOrderResponse, ExtendHoldRequest, ExtendHoldResponse,
    GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse, Order, OrderLine,
    OrderState,
};
use stockroom::server::{runtime, transport};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// An id as long as every other.
const ORDER_ID: &str = "0193b0c4-7e4d-7000-8000-000000000000";

/// A version of the size that levels come to in a measurement.
const VERSION: i64 = 20_000;

/// A time with microseconds, as the server's clock has them.
const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_764_000_000,
    nanos: 123_456_000,
};

/// Serves until the process is ended. Says where on stderr, as the real server
/// does in its log.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve() -> anyhow::Result<()> {
    runtime(&Config::default().server)
        .context("cannot start the runtime")?
        .block_on(async {
            let config = Config::default().server;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            eprintln!("{}", json!({ "message": "listening", "address": address }));
            let (_, health) = tonic_health::server::health_reporter();
            let orders =
                OrderServiceServer::new(Echo).max_decoding_message_size(config.message_bytes_max);
            transport(&config)
                .add_service(health)
                .add_service(orders)
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await
                .context("the echo server failed")
        })
}

struct Echo;

#[tonic::async_trait]
impl OrderService for Echo {
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let request = request.into_inner();
        let line = |line: stockroom::proto::OrderLineRequest| OrderLine {
            sku: line.sku,
            location: "main".to_owned(),
            quantity: line.quantity,
            version: VERSION,
            backordered: 0,
        };
        let order = Order {
            order_id: ORDER_ID.to_owned(),
            request_id: request.request_id,
            state: OrderState::Confirmed.into(),
            lines: request.lines.into_iter().map(line).collect(),
            customer_ref: request.customer_ref,
            labels: request.labels,
            create_time: Some(TIME),
            update_time: Some(TIME),
            version: 1,
            expire_time: None,
            cancel_reason: String::new(),
        };
        let order = Some(order);
        Ok(Response::new(CreateOrderResponse {
            order,
            replayed: false,
        }))
    }

    async fn confirm_order(
        &self,
        _request: Request<ConfirmOrderRequest>,
    ) -> Result<Response<ConfirmOrderResponse>, Status> {
        Err(Status::unimplemented("the echo has no orders"))
    }

    async fn cancel_order(
        &self,
        _request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        Err(Status::unimplemented("the echo has no orders"))
    }

    async fn extend_hold(
        &self,
        _request: Request<ExtendHoldRequest>,
    ) -> Result<Response<ExtendHoldResponse>, Status> {
        Err(Status::unimplemented("the echo has no orders"))
    }

    async fn get_order(
        &self,
        _request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        Err(Status::unimplemented("the echo has no orders"))
    }

    async fn list_orders(
        &self,
        _request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        Err(Status::unimplemented("the echo has no orders"))
    }
}
