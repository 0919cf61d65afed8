//! The floor: GetStock and a refused CreateOrder with nothing behind them, in a process
//! of its own, on the real server's transport, layers, runtime and allocator. Answers
//! have the size of real ones.

use anyhow::Context as _;
use serde_json::json;
use stockroom::config::Config;
use stockroom::proto::inventory_service_server::InventoryService;
use stockroom::proto::inventory_service_server::InventoryServiceServer;
use stockroom::proto::order_service_server::{OrderService, OrderServiceServer};
use stockroom::proto::*;
use stockroom::server::{runtime, transport};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A time with microseconds, as the server's clock has them.
const TIME: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_764_000_000,
    nanos: 123_456_000,
};

/// Serves until the process is ended. Says where on stderr, as the real server does.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve() -> anyhow::Result<()> {
    let config = Config::default().server;
    let serving = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        eprintln!("{}", json!({ "message": "listening", "address": address }));
        let (_, health) = tonic_health::server::health_reporter();
        transport(&config)
            .add_service(health)
            .add_service(OrderServiceServer::new(Echo))
            .add_service(InventoryServiceServer::new(Echo))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .context("the echo server failed")
    };
    runtime(&config)
        .context("cannot start the runtime")?
        .block_on(serving)
}

struct Echo;

type Answer<T> = Result<Response<T>, Status>;

fn not_here<T>() -> Answer<T> {
    Err(Status::unimplemented("the echo has nothing of that"))
}

#[tonic::async_trait]
impl InventoryService for Echo {
    async fn get_stock(&self, request: Request<GetStockRequest>) -> Answer<GetStockResponse> {
        let level = StockLevel {
            sku: request.into_inner().sku,
            location: "main".to_owned(),
            on_hand: 1_000_000,
            available: 1_000_000,
            version: 1,
            update_time: Some(TIME),
            ..StockLevel::default()
        };
        Ok(Response::new(GetStockResponse {
            level: Some(level),
            served_from: ServedFrom::Cache.into(),
        }))
    }

    async fn put_products(&self, _: Request<PutProductsRequest>) -> Answer<PutProductsResponse> {
        not_here()
    }

    async fn delete_product(
        &self,
        _: Request<DeleteProductRequest>,
    ) -> Answer<DeleteProductResponse> {
        not_here()
    }

    async fn adjust_stock(&self, _: Request<AdjustStockRequest>) -> Answer<AdjustStockResponse> {
        not_here()
    }

    async fn batch_adjust_stock(
        &self,
        _: Request<BatchAdjustStockRequest>,
    ) -> Answer<BatchAdjustStockResponse> {
        not_here()
    }

    async fn count_stock(&self, _: Request<CountStockRequest>) -> Answer<CountStockResponse> {
        not_here()
    }

    async fn transfer_stock(
        &self,
        _: Request<TransferStockRequest>,
    ) -> Answer<TransferStockResponse> {
        not_here()
    }

    async fn batch_get_stock(
        &self,
        _: Request<BatchGetStockRequest>,
    ) -> Answer<BatchGetStockResponse> {
        not_here()
    }

    async fn list_stock(&self, _: Request<ListStockRequest>) -> Answer<ListStockResponse> {
        not_here()
    }

    async fn get_product(&self, _: Request<GetProductRequest>) -> Answer<GetProductResponse> {
        not_here()
    }

    async fn list_products(&self, _: Request<ListProductsRequest>) -> Answer<ListProductsResponse> {
        not_here()
    }

    async fn list_movements(
        &self,
        _: Request<ListMovementsRequest>,
    ) -> Answer<ListMovementsResponse> {
        not_here()
    }
}

#[tonic::async_trait]
impl OrderService for Echo {
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Answer<CreateOrderResponse> {
        let request = request.into_inner();
        let sku = request.lines.first().map_or("", |line| &line.sku);
        let mut details = ErrorDetails::new();
        details.add_precondition_failure_violation(
            "STOCK",
            format!("{sku}@main"),
            "requested 1, available 0",
        );
        let total = std::collections::HashMap::from([("total".to_owned(), "1".to_owned())]);
        details.set_error_info("INSUFFICIENT_STOCK", "stockroom.v1", total);
        Err(Status::with_error_details(
            Code::FailedPrecondition,
            format!("not enough stock: {sku}@main: requested 1, available 0"),
            details,
        ))
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
