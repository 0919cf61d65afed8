//! InventoryService, all but WatchStock, which `watch` answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::status::about;
use super::{Gate, adjustments, convert, movements, products, stock_list};
use crate::engine::Engine;
use crate::proto;
use crate::proto::inventory_service_server::InventoryService;
use crate::reads::Reads;
use crate::storage::Store;
use crate::telemetry::Counters;

/// Products and stock levels over gRPC.
pub(crate) struct Inventory {
    pub(crate) engine: Engine,
    pub(crate) reads: Reads,
    pub(crate) store: Store,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gate: Arc<Gate>,
}

#[tonic::async_trait]
impl InventoryService for Inventory {
    async fn put_products(
        &self,
        request: Request<proto::PutProductsRequest>,
    ) -> Result<Response<proto::PutProductsResponse>, Status> {
        self.gate.pass()?;
        let request = request.into_inner();
        let validate_only = request.validate_only;
        let products = convert::products(request)?;
        let count = products.len();
        let first = products.first().map(|product| product.sku.clone());
        let put = if validate_only {
            self.engine.validate_products(&products).await
        } else {
            self.engine.put_products(products).await
        };
        let put = put.map_err(about("put_products", (count, first)))?;
        // A request has at most 1,000 products.
        Ok(Response::new(proto::PutProductsResponse {
            created: put.created as i32,
            updated: put.updated as i32,
        }))
    }

    async fn delete_product(
        &self,
        request: Request<proto::DeleteProductRequest>,
    ) -> Result<Response<proto::DeleteProductResponse>, Status> {
        self.gate.pass()?;
        let request = request.into_inner();
        let sku = products::named(&request.sku)?;
        let deleted = if request.validate_only {
            self.engine.validate_deletion(&sku).await
        } else {
            self.engine.delete_product(&sku).await
        };
        deleted.map_err(about("delete_product", sku))?;
        Ok(Response::new(proto::DeleteProductResponse {}))
    }

    async fn get_product(
        &self,
        request: Request<proto::GetProductRequest>,
    ) -> Result<Response<proto::GetProductResponse>, Status> {
        self.gate.pass()?;
        let answer = products::get(&self.store, request.get_ref()).await;
        let answer = answer.map_err(about("get_product", request.get_ref()))?;
        Ok(Response::new(answer))
    }

    async fn list_products(
        &self,
        request: Request<proto::ListProductsRequest>,
    ) -> Result<Response<proto::ListProductsResponse>, Status> {
        self.gate.pass()?;
        let answer = products::list(&self.store, request.get_ref()).await;
        let answer = answer.map_err(about("list_products", request.get_ref()))?;
        Ok(Response::new(answer))
    }

    async fn adjust_stock(
        &self,
        request: Request<proto::AdjustStockRequest>,
    ) -> Result<Response<proto::AdjustStockResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let validate_only = request.validate_only;
        let parse = || adjustments::adjust(request);
        let done = self.adjust(&metadata, validate_only, parse).await?;
        Ok(Response::new(proto::AdjustStockResponse {
            level: done.levels.into_iter().next(),
            movement: done.movements.into_iter().next(),
            replayed: done.replayed,
        }))
    }

    async fn batch_adjust_stock(
        &self,
        request: Request<proto::BatchAdjustStockRequest>,
    ) -> Result<Response<proto::BatchAdjustStockResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let validate_only = request.validate_only;
        let parse = || adjustments::batch(request);
        let done = self.adjust(&metadata, validate_only, parse).await?;
        Ok(Response::new(proto::BatchAdjustStockResponse {
            levels: done.levels,
            movements: done.movements,
            replayed: done.replayed,
        }))
    }

    async fn count_stock(
        &self,
        request: Request<proto::CountStockRequest>,
    ) -> Result<Response<proto::CountStockResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let validate_only = request.validate_only;
        let parse = || adjustments::count(request);
        let done = self.adjust(&metadata, validate_only, parse).await?;
        Ok(Response::new(proto::CountStockResponse {
            level: done.levels.into_iter().next(),
            movement: done.movements.into_iter().next(),
            replayed: done.replayed,
        }))
    }

    async fn transfer_stock(
        &self,
        request: Request<proto::TransferStockRequest>,
    ) -> Result<Response<proto::TransferStockResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let validate_only = request.validate_only;
        let parse = || adjustments::transfer(request);
        let done = self.adjust(&metadata, validate_only, parse).await?;
        Ok(Response::new(proto::TransferStockResponse {
            levels: done.levels,
            movements: done.movements,
            replayed: done.replayed,
        }))
    }

    async fn get_stock(
        &self,
        request: Request<proto::GetStockRequest>,
    ) -> Result<Response<proto::GetStockResponse>, Status> {
        self.gate.pass()?;
        let key = convert::get_stock(request.get_ref())?;
        let read = self.reads.levels(&[key]).await;
        let (levels, source) = read.map_err(about("get_stock", request.get_ref()))?;
        Ok(Response::new(proto::GetStockResponse {
            level: levels.first().map(Into::into),
            served_from: proto::ServedFrom::from(source).into(),
        }))
    }

    async fn batch_get_stock(
        &self,
        request: Request<proto::BatchGetStockRequest>,
    ) -> Result<Response<proto::BatchGetStockResponse>, Status> {
        self.gate.pass()?;
        let keys = convert::batch_get_stock(request.get_ref())?;
        let read = self.reads.levels(&keys).await;
        let asked = (keys.len(), keys.first());
        let (levels, source) = read.map_err(about("batch_get_stock", asked))?;
        Ok(Response::new(proto::BatchGetStockResponse {
            levels: levels.iter().map(Into::into).collect(),
            served_from: proto::ServedFrom::from(source).into(),
        }))
    }

    async fn list_stock(
        &self,
        request: Request<proto::ListStockRequest>,
    ) -> Result<Response<proto::ListStockResponse>, Status> {
        self.gate.pass()?;
        let answer = stock_list::list(&self.store, request.get_ref()).await;
        let answer = answer.map_err(about("list_stock", request.get_ref()))?;
        Ok(Response::new(answer))
    }

    async fn list_movements(
        &self,
        request: Request<proto::ListMovementsRequest>,
    ) -> Result<Response<proto::ListMovementsResponse>, Status> {
        self.gate.pass()?;
        let answer = movements::list(&self.store, request.get_ref()).await;
        let answer = answer.map_err(about("list_movements", request.get_ref()))?;
        Ok(Response::new(answer))
    }
}
