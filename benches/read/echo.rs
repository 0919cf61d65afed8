//! The floor: GetStock and a refused CreateOrder with nothing behind them. Answers have the
//! size of real ones.

use stockroom::proto::inventory_service_server::{InventoryService, InventoryServiceServer};
use stockroom::proto::*;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::support::floor::{self, Answer, TIME, not_here};

/// Serves until the process is ended.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve() -> anyhow::Result<()> {
    floor::serve(|| {
        Routes::new(floor::orders(refuse)).add_service(InventoryServiceServer::new(Echo))
    })
}

struct Echo;

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

fn refuse(request: CreateOrderRequest) -> Result<CreateOrderResponse, Status> {
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
