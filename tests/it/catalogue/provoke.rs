//! A call of each RPC that must give a reason of the catalogue.

use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::order_service_client::OrderServiceClient;
use stockroom::client::proto::{
    AdjustStockRequest, BatchGetStockKey, BatchGetStockRequest, CancelOrderRequest,
    ConfirmOrderRequest, CountStockRequest, CreateOrderRequest, DeleteProductRequest,
    ExtendHoldRequest, GetOrderRequest, GetProductRequest, GetStockRequest, ListMovementsRequest,
    ListOrdersRequest, ListProductsRequest, ListStockRequest, PutProductsRequest, StockKey,
    TransferLine, TransferStockRequest, WatchStockRequest,
};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::api::{batch, hold_of, order, product, received, stock};
use crate::backorders::put_limited;
use crate::fixture::Stockroom;
use crate::watching::everything;

/// The services on a connection.
pub(super) struct Calls {
    orders: OrderServiceClient<Channel>,
    inventory: InventoryServiceClient<Channel>,
}

impl Calls {
    pub(super) fn of(channel: &Channel) -> Self {
        Self {
            orders: OrderServiceClient::new(channel.clone()),
            inventory: InventoryServiceClient::new(channel.clone()),
        }
    }
}

/// What [`provoke`] finds: nine units of `a`, two requests that have been answered, `held`,
/// of which three of five units are reserved at version 2, a unit of `owed` on backorder,
/// and none of `empty`.
pub(super) async fn prepare(server: &Stockroom) {
    stock(&server.client, "a", 10).await;
    for request_id in ["sold", "returned"] {
        let order = order(request_id, &[("a", 1)]);
        server.client.create_order(order).await.unwrap();
    }
    stock(&server.client, "held", 5).await;
    let mut hold = order("hold", &[("held", 3)]);
    hold.hold = Some(hold_of(600));
    server.client.create_order(hold).await.unwrap();
    put_limited(&server.client, "owed", 1).await;
    let owed = order("owed", &[("owed", 1)]);
    server.client.create_order(owed).await.unwrap();
    for (sku, request_id) in [("gone", "last"), ("empty", "emptied")] {
        stock(&server.client, sku, 1).await;
        let last = order(request_id, &[(sku, 1)]);
        server.client.create_order(last).await.unwrap();
    }
    let delete = DeleteProductRequest {
        sku: "gone".to_owned(),
        ..DeleteProductRequest::default()
    };
    server.client.delete_product(delete).await.unwrap();
    let cancel = CancelOrderRequest {
        request_id: "cancel".to_owned(),
        order_id: made_by(&Calls::of(&server.channel), "returned").await,
        ..CancelOrderRequest::default()
    };
    server.client.cancel_order(cancel).await.unwrap();
}

/// The id of the order that a request made.
async fn made_by(calls: &Calls, request_id: &str) -> String {
    let request = GetOrderRequest {
        key: Some(Key::RequestId(request_id.to_owned())),
        ..GetOrderRequest::default()
    };
    let answer = calls.orders.clone().get_order(request).await.unwrap();
    answer.into_inner().order.unwrap().order_id
}

/// The request_id and the order_id of a change of an order that gives `reason`.
async fn changed(calls: &Calls, reason: &str) -> (String, String) {
    let named = |request_id: &str, order_id| (request_id.to_owned(), order_id);
    match reason {
        "INVALID_REQUEST" => named("", nowhere()),
        "REQUEST_ID_REUSED" => named("sold", made_by(calls, "sold").await),
        "ORDER_STATE" => named("new", made_by(calls, "returned").await),
        "SKU_NOT_FOUND" => named("new", made_by(calls, "last").await),
        "STOCK_CONTENTION" | "OVERLOADED" => named("new", made_by(calls, "hold").await),
        _ => named("new", nowhere()),
    }
}

/// The status of a call of `rpc` that must be refused for `reason`. Reasons that any
/// call meets are met by a call that is in order.
pub(super) async fn provoke(calls: &Calls, rpc: &str, reason: &str) -> Status {
    let sku = match reason {
        "INVALID_REQUEST" => "",
        "SKU_NOT_FOUND" => "unknown",
        "BACKORDERS_REMAIN" => "owed",
        _ => "a",
    };
    if let Some(status) = of_orders(calls, rpc, reason, sku).await {
        status
    } else if let Some(status) = of_stock(calls, rpc, reason, sku).await {
        status
    } else if let Some(status) = of_lists(calls, rpc, reason, sku).await {
        status
    } else {
        panic!("{rpc} is not in the table: say how it comes to give {reason}")
    }
}

async fn of_orders(calls: &Calls, rpc: &str, reason: &str, sku: &str) -> Option<Status> {
    let mut orders = calls.orders.clone();
    Some(match rpc {
        "CreateOrder" => refused(orders.create_order(create_order(reason, sku)).await),
        "ConfirmOrder" => {
            let (request_id, order_id) = changed(calls, reason).await;
            let request = ConfirmOrderRequest {
                request_id,
                order_id,
                ..ConfirmOrderRequest::default()
            };
            refused(orders.confirm_order(request).await)
        }
        "CancelOrder" => {
            let (request_id, order_id) = changed(calls, reason).await;
            let request = CancelOrderRequest {
                request_id,
                order_id,
                ..CancelOrderRequest::default()
            };
            refused(orders.cancel_order(request).await)
        }
        "ExtendHold" => {
            let (request_id, order_id) = changed(calls, reason).await;
            let request = ExtendHoldRequest {
                request_id,
                order_id,
                hold: Some(hold_of(60)),
                ..ExtendHoldRequest::default()
            };
            refused(orders.extend_hold(request).await)
        }
        "GetOrder" => {
            let key = (reason != "INVALID_REQUEST").then(|| Key::OrderId(nowhere()));
            let request = GetOrderRequest {
                key,
                ..GetOrderRequest::default()
            };
            refused(orders.get_order(request).await)
        }
        _ => return None,
    })
}

async fn of_stock(calls: &Calls, rpc: &str, reason: &str, sku: &str) -> Option<Status> {
    let mut inventory = calls.inventory.clone();
    let min_version = (reason == "VERSION_NOT_REACHED").then_some(99);
    Some(match rpc {
        "PutProducts" => {
            // A change that levels follow, where it comes to that.
            let threshold = i64::from(reason == "STOCK_CONTENTION");
            let products = vec![product(sku, threshold)];
            let request = PutProductsRequest {
                products,
                ..Default::default()
            };
            refused(inventory.put_products(request).await)
        }
        "DeleteProduct" => {
            let sku = match reason {
                "STOCK_CONTENTION" => "empty",
                _ => sku,
            };
            let request = DeleteProductRequest {
                sku: sku.to_owned(),
                ..DeleteProductRequest::default()
            };
            refused(inventory.delete_product(request).await)
        }
        "GetProduct" => {
            let sku = sku.to_owned();
            refused(inventory.get_product(GetProductRequest { sku }).await)
        }
        "AdjustStock" => refused(inventory.adjust_stock(adjustment(reason, sku)).await),
        "BatchAdjustStock" => {
            let request = batch(adjustment(reason, sku));
            refused(inventory.batch_adjust_stock(request).await)
        }
        "CountStock" => refused(inventory.count_stock(count(reason, sku)).await),
        "TransferStock" => refused(inventory.transfer_stock(transfer(reason, sku)).await),
        "GetStock" => {
            let request = GetStockRequest {
                sku: sku.to_owned(),
                min_version,
                ..GetStockRequest::default()
            };
            refused(inventory.get_stock(request).await)
        }
        "BatchGetStock" => {
            let key = BatchGetStockKey {
                sku: sku.to_owned(),
                min_version,
                ..BatchGetStockKey::default()
            };
            let request = BatchGetStockRequest { keys: vec![key] };
            refused(inventory.batch_get_stock(request).await)
        }
        "WatchStock" => {
            let invalid = reason == "INVALID_REQUEST";
            let selector = (!invalid).then(everything);
            let request = WatchStockRequest {
                selectors: selector.into_iter().collect(),
                ..WatchStockRequest::default()
            };
            refused(inventory.watch_stock(request).await.map(|it| it.map(drop)))
        }
        _ => return None,
    })
}

async fn of_lists(calls: &Calls, rpc: &str, reason: &str, sku: &str) -> Option<Status> {
    let (mut orders, mut inventory) = (calls.orders.clone(), calls.inventory.clone());
    // Bounds of pages are those of every list.
    let page_size = if reason == "INVALID_REQUEST" { -1 } else { 0 };
    Some(match rpc {
        "ListOrders" => {
            let request = ListOrdersRequest {
                page_size,
                ..ListOrdersRequest::default()
            };
            refused(orders.list_orders(request).await)
        }
        "ListProducts" => {
            let request = ListProductsRequest {
                page_size,
                ..ListProductsRequest::default()
            };
            refused(inventory.list_products(request).await)
        }
        "ListStock" => {
            let request = ListStockRequest {
                page_size,
                ..ListStockRequest::default()
            };
            refused(inventory.list_stock(request).await)
        }
        "ListMovements" => {
            let scope = match reason {
                "ORDER_NOT_FOUND" => Scope::OrderId(nowhere()),
                _ => Scope::Level(StockKey {
                    sku: sku.to_owned(),
                    location: String::new(),
                }),
            };
            let request = ListMovementsRequest {
                page_size,
                scope: Some(scope),
                ..ListMovementsRequest::default()
            };
            refused(inventory.list_movements(request).await)
        }
        _ => return None,
    })
}

/// The id of no order.
fn nowhere() -> String {
    uuid::Uuid::from_u128(7).to_string()
}

fn create_order(reason: &str, sku: &str) -> CreateOrderRequest {
    match reason {
        "REQUEST_ID_REUSED" => order("sold", &[(sku, 2)]),
        "INSUFFICIENT_STOCK" => order("much", &[(sku, 1_000)]),
        _ => order("new", &[(sku, 1)]),
    }
}

fn adjustment(reason: &str, sku: &str) -> AdjustStockRequest {
    let mut request = received("new", sku, 1);
    match reason {
        "REQUEST_ID_REUSED" => "sold".clone_into(&mut request.request_id),
        "INSUFFICIENT_STOCK" => request = received("much", sku, -1_000),
        "VERSION_MISMATCH" => request.expected_version = Some(99),
        _ => {}
    }
    request
}

fn count(reason: &str, sku: &str) -> CountStockRequest {
    if ["INSUFFICIENT_STOCK", "STOCK_CONTENTION"].contains(&reason) {
        return CountStockRequest {
            request_id: "new".to_owned(),
            sku: "held".to_owned(),
            // Less than is reserved, or not.
            on_hand: if reason == "INSUFFICIENT_STOCK" { 2 } else { 4 },
            expected_version: Some(2),
            ..CountStockRequest::default()
        };
    }
    CountStockRequest {
        request_id: match reason {
            "REQUEST_ID_REUSED" => "sold".to_owned(),
            _ => "new".to_owned(),
        },
        sku: sku.to_owned(),
        on_hand: 9,
        expected_version: Some(if reason == "VERSION_MISMATCH" { 99 } else { 2 }),
        ..CountStockRequest::default()
    }
}

fn transfer(reason: &str, sku: &str) -> TransferStockRequest {
    let quantity = match reason {
        "INSUFFICIENT_STOCK" => 1_000,
        _ => 1,
    };
    let sku = sku.to_owned();
    TransferStockRequest {
        request_id: match reason {
            "REQUEST_ID_REUSED" => "sold".to_owned(),
            _ => "new".to_owned(),
        },
        to_location: "york".to_owned(),
        lines: vec![TransferLine { sku, quantity }],
        ..TransferStockRequest::default()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Status {
    answer.unwrap_err()
}
