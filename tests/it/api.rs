//! Requests in few words, and what a status says in its details.

use std::time::Duration;

use stockroom::client::Client;
use stockroom::client::proto::adjust_stock_request::Change;
use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::order_service_client::OrderServiceClient;
use stockroom::client::proto::stock_adjustment::Change as BatchChange;
use stockroom::client::proto::{
    AdjustStockRequest, BatchAdjustStockRequest, CancelOrderRequest, ConfirmOrderRequest,
    CreateOrderRequest, ExtendHoldRequest, GetStockRequest, MovementKind, OrderLineRequest,
    Product, PutProductsRequest, StockAdjustment, StockLevel, TransferLine, TransferStockRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::fixture::Stockroom;

/// An order of (SKU, quantity) at `main`.
pub(crate) fn order(request_id: &str, lines: &[(&str, i64)]) -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: request_id.to_owned(),
        lines: lines
            .iter()
            .map(|&(sku, quantity)| OrderLineRequest {
                sku: sku.to_owned(),
                location: String::new(),
                quantity,
            })
            .collect(),
        ..CreateOrderRequest::default()
    }
}

/// A hold of so many seconds.
pub(crate) fn hold_of(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub(crate) fn confirm(request_id: &str, order_id: &str) -> ConfirmOrderRequest {
    ConfirmOrderRequest {
        request_id: request_id.to_owned(),
        order_id: order_id.to_owned(),
        ..ConfirmOrderRequest::default()
    }
}

pub(crate) fn cancel(request_id: &str, order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest {
        request_id: request_id.to_owned(),
        order_id: order_id.to_owned(),
        ..CancelOrderRequest::default()
    }
}

/// An extension to so many seconds from now.
pub(crate) fn extend(request_id: &str, order_id: &str, seconds: i64) -> ExtendHoldRequest {
    ExtendHoldRequest {
        request_id: request_id.to_owned(),
        order_id: order_id.to_owned(),
        hold: Some(hold_of(seconds)),
        ..ExtendHoldRequest::default()
    }
}

/// Goods that came in.
pub(crate) fn received(request_id: &str, sku: &str, delta: i64) -> AdjustStockRequest {
    AdjustStockRequest {
        request_id: request_id.to_owned(),
        sku: sku.to_owned(),
        change: Some(Change::Delta(delta)),
        kind: MovementKind::Received.into(),
        ..AdjustStockRequest::default()
    }
}

/// A count of the shelf.
pub(crate) fn counted(request_id: &str, sku: &str, on_hand: i64) -> AdjustStockRequest {
    AdjustStockRequest {
        change: Some(Change::SetOnHand(on_hand)),
        kind: MovementKind::Count.into(),
        ..received(request_id, sku, 0)
    }
}

/// An adjustment as BatchAdjustStock has it, alone under the same request_id.
pub(crate) fn batch(request: AdjustStockRequest) -> BatchAdjustStockRequest {
    BatchAdjustStockRequest {
        request_id: request.request_id,
        adjustments: vec![StockAdjustment {
            sku: request.sku,
            location: request.location,
            change: request.change.map(|change| match change {
                Change::Delta(units) => BatchChange::Delta(units),
                Change::SetOnHand(units) => BatchChange::SetOnHand(units),
            }),
            kind: request.kind,
            note: request.note,
            expected_version: request.expected_version,
        }],
        ..Default::default()
    }
}

/// Adjustments as BatchAdjustStock has them; their own request_ids do not count.
pub(crate) fn batch_of(
    request_id: &str,
    requests: impl IntoIterator<Item = AdjustStockRequest>,
) -> BatchAdjustStockRequest {
    let adjustments = requests.into_iter().flat_map(|it| batch(it).adjustments);
    BatchAdjustStockRequest {
        request_id: request_id.to_owned(),
        adjustments: adjustments.collect(),
        ..Default::default()
    }
}

/// Units of each SKU that go from one location to another.
pub(crate) fn transfer(
    request_id: &str,
    from: &str,
    to: &str,
    lines: &[(&str, i64)],
) -> TransferStockRequest {
    let lines = lines.iter().map(|&(sku, quantity)| TransferLine {
        sku: sku.to_owned(),
        quantity,
    });
    TransferStockRequest {
        request_id: request_id.to_owned(),
        from_location: from.to_owned(),
        to_location: to.to_owned(),
        lines: lines.collect(),
        ..TransferStockRequest::default()
    }
}

pub(crate) fn product(sku: &str, low_stock_threshold: i64) -> Product {
    Product {
        sku: sku.to_owned(),
        low_stock_threshold,
        ..Product::default()
    }
}

/// Puts one product, however impatient the server is with cold connections.
pub(crate) async fn put(client: &Client, sku: &str, low_stock_threshold: i64) {
    let products = vec![product(sku, low_stock_threshold)];
    let request = PutProductsRequest {
        products,
        ..Default::default()
    };
    client.retrying().put_products(&request).await.unwrap();
}

/// Puts a product and receives its first stock: version 1.
pub(crate) async fn stock(client: &Client, sku: &str, units: i64) {
    put(client, sku, 0).await;
    let request = received(&format!("opening-{sku}"), sku, units);
    client.retrying().adjust_stock(&request).await.unwrap();
}

/// The level at `main` as the primary has it.
pub(crate) async fn level(client: &Client, sku: &str) -> StockLevel {
    let request = GetStockRequest {
        sku: sku.to_owned(),
        ..GetStockRequest::default()
    };
    client.get_stock(request).await.unwrap().level.unwrap()
}

impl Stockroom {
    /// OrderService without a wrapper.
    pub(crate) fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel.clone())
    }

    /// InventoryService without a wrapper.
    pub(crate) fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel.clone())
    }

    /// Sees it refuse an order, and say that it does not serve: its store is not there yet.
    pub(crate) async fn waits_for_its_store(&self) {
        let mut orders = self.orders();
        let early = orders.create_order(order("early", &[("a", 1)])).await;
        refusal(early).is(Code::Unavailable, "STORE_UNAVAILABLE");
        assert_eq!(self.health().await, ServingStatus::NotServing);
    }
}

/// A status taken apart.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: ErrorDetails,
    /// The trailer `grpc-retry-pushback-ms`.
    pub(crate) pushback_ms: Option<u64>,
}

impl Refusal {
    /// Takes apart what every error of Stockroom has.
    pub(crate) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details
            .error_info()
            .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "stockroom.v1");
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            message: status.message().to_owned(),
            pushback_ms: pushback.map(|ms| ms.to_str().unwrap().parse().unwrap()),
            details,
        }
    }

    /// Fails unless it is this row of the catalogue.
    #[track_caller]
    pub(crate) fn is(&self, code: Code, reason: &str) -> &Self {
        assert_eq!(
            (self.code, self.reason.as_str()),
            (code, reason),
            "{self:#?}"
        );
        self
    }

    /// A value of ErrorInfo's metadata.
    #[track_caller]
    pub(crate) fn metadata(&self, key: &str) -> &str {
        let info = self.details.error_info().unwrap();
        info.metadata
            .get(key)
            .unwrap_or_else(|| panic!("no {key} in {info:?}"))
    }

    /// The field paths of BadRequest, in their order.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let bad_request = self.details.bad_request().unwrap();
        bad_request
            .field_violations
            .iter()
            .map(|v| v.field.as_str())
            .collect()
    }

    /// What each violation is of, and what it says.
    pub(crate) fn unmet(&self) -> Vec<(&str, &str)> {
        let failure = self.details.precondition_failure();
        let violations = failure.expect("a precondition failed").violations.iter();
        violations.map(|v| (&*v.subject, &*v.description)).collect()
    }

    /// RetryInfo's delay.
    #[track_caller]
    pub(crate) fn retry_delay(&self) -> Duration {
        let retry = self
            .details
            .retry_info()
            .unwrap_or_else(|| panic!("no RetryInfo: {self:#?}"));
        retry.retry_delay.unwrap()
    }
}

/// The refusal that a call must end with.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refusal {
    Refusal::of(&answer.unwrap_err())
}
