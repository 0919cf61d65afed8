//! Orders on hold: they reserve, and end once.

mod deadlines;
mod ending;
mod instances;
mod life;
mod rollout;

use std::sync::Arc;

use stockroom::client::Client;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{CreateOrderRequest, GetOrderRequest, GetOrderResponse, Order};
use stockroom::storage::{Access, Store};

use crate::api::{hold_of, order};
use crate::fixture::{Home, eventually};

/// Makes an order that reserves for so long.
pub(crate) async fn hold(
    client: &Client,
    request_id: &str,
    lines: &[(&str, i64)],
    seconds: i64,
) -> Order {
    let request = CreateOrderRequest {
        hold: Some(hold_of(seconds)),
        ..order(request_id, lines)
    };
    let made = client.retrying().create_order(&request).await.unwrap();
    made.order.unwrap()
}

/// Reads an order with its movements.
pub(crate) async fn read(client: &Client, order_id: &str) -> GetOrderResponse {
    let request = GetOrderRequest {
        key: Some(Key::OrderId(order_id.to_owned())),
        with_movements: true,
        ..GetOrderRequest::default()
    };
    client.get_order(request).await.unwrap()
}

/// Waits until the hold of `order` is over by the database's clock.
pub(crate) async fn is_over(home: &Arc<Home>, order: &Order) {
    let store = Store::open(&home.store_config(), Access::Read)
        .await
        .unwrap();
    let expires = order.expire_time.unwrap();
    let expires = expires.seconds * 1_000_000 + i64::from(expires.nanos) / 1_000;
    eventually("the hold is over", async || {
        store.now().await.unwrap().us() >= expires
    })
    .await;
    store.close().await;
}
