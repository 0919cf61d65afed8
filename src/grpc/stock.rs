//! InventoryService, all but WatchStock, which `watch` answers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::{Request, Response, Status};
use tracing::info_span;

use super::convert::{self, Fields};
use super::{Gate, turn_down};
use crate::domain::{Invalid, LevelKey, Location, Sku, StockLevel};
use crate::engine::{Command, Done, Engine};
use crate::error::Error;
use crate::proto;
use crate::proto::inventory_service_server::InventoryService;
use crate::reads::Reads;
use crate::storage::{LevelFilter, Store};
use crate::telemetry::Counters;

const PAGE_LEVELS_DEFAULT: usize = 100;
const PAGE_LEVELS_MAX: i32 = 1_000;

/// Products and stock levels over gRPC.
#[derive(Debug)]
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
        let products = convert::products(request.into_inner())?;
        let put = self.engine.put_products(products).await?;
        // A request has at most 1,000 products.
        Ok(Response::new(proto::PutProductsResponse {
            created: put.created as i32,
            updated: put.updated as i32,
        }))
    }

    async fn adjust_stock(
        &self,
        request: Request<proto::AdjustStockRequest>,
    ) -> Result<Response<proto::AdjustStockResponse>, Status> {
        let outcomes = &self.counters.adjustments;
        let refuse = turn_down(outcomes);
        self.gate.pass().map_err(refuse)?;
        let adjustment = convert::adjustment(request.into_inner()).map_err(refuse)?;
        let request_id = adjustment.request_id.clone();
        let fail = |error| info_span!("adjust_stock", %request_id).in_scope(|| refuse(error));
        match self.engine.submit(Command::AdjustStock(adjustment)).await {
            Ok(Done::Adjusted {
                movement,
                level,
                replayed,
            }) => {
                if replayed {
                    outcomes.replayed.add(1);
                }
                Ok(Response::new(proto::AdjustStockResponse {
                    level: Some((&level).into()),
                    movement: Some((&*movement).into()),
                    replayed,
                }))
            }
            Ok(Done::Order { .. }) => unreachable!("plan answers each command in its kind"),
            Err(error) => Err(fail(error)),
        }
    }

    async fn get_stock(
        &self,
        request: Request<proto::GetStockRequest>,
    ) -> Result<Response<proto::GetStockResponse>, Status> {
        self.gate.pass()?;
        let key = convert::get_stock(request.get_ref())?;
        let (levels, source) = self.reads.levels(&[key]).await?;
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
        let (levels, source) = self.reads.levels(&keys).await?;
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
        let page = Page::parse(request.get_ref())?;
        let found = self
            .store
            .list_levels(page.after.as_ref(), &page.filter(), page.size)
            .await
            .map_err(Error::from)?;
        let next = found.levels.last().filter(|_| found.more);
        Ok(Response::new(proto::ListStockResponse {
            levels: found.levels.iter().map(Into::into).collect(),
            next_page_token: next.map(|last| page.token_after(last)).unwrap_or_default(),
            served_from: proto::ServedFrom::Primary.into(),
        }))
    }
}

/// What one page of ListStock shows.
struct Page {
    size: usize,
    after: Option<LevelKey>,
    sku_prefix: String,
    low_only: bool,
}

impl Page {
    fn parse(request: &proto::ListStockRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        if !(0..=PAGE_LEVELS_MAX).contains(&request.page_size) {
            let given = request.page_size;
            fields.refuse(
                "page_size",
                format!("must be 0 to {PAGE_LEVELS_MAX}, is {given}"),
            );
        }
        fields.take("sku_prefix", Sku::check_prefix(&request.sku_prefix));
        let size = match usize::try_from(request.page_size) {
            Ok(0) | Err(_) => PAGE_LEVELS_DEFAULT,
            Ok(size) => size,
        };
        let mut page = Self {
            size,
            after: None,
            sku_prefix: request.sku_prefix.clone(),
            low_only: request.low_only,
        };
        if !request.page_token.is_empty() {
            page.after = fields.take("page_token", page.read_token(&request.page_token));
        }
        fields.finish(Some(page))
    }

    fn filter(&self) -> LevelFilter<'_> {
        LevelFilter {
            sku_prefix: &self.sku_prefix,
            location: None,
            low_only: self.low_only,
        }
    }

    /// What the token must repeat of the request that made it.
    fn filters(&self) -> String {
        format!("{}\n{}", self.sku_prefix, self.low_only)
    }

    fn token_after(&self, last: &StockLevel) -> String {
        let key = &last.key;
        URL_SAFE_NO_PAD.encode(format!("{}\n{}\n{}", key.sku, key.location, self.filters()))
    }

    fn read_token(&self, token: &str) -> Result<LevelKey, Invalid> {
        let invalid = || Invalid("must be a next_page_token of the same request".to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let mut parts = text.splitn(3, '\n');
        let (Some(sku), Some(location), Some(filters)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        if filters != self.filters() {
            return Err(invalid());
        }
        Ok(LevelKey {
            sku: Sku::new(sku)?,
            location: Location::new(location)?,
        })
    }
}
