//! The floor: CreateOrder with nothing behind it.
//!
//! Answers each order with a response of the same size as the real one.

use stockroom::proto::{
    CreateOrderRequest, CreateOrderResponse, Order, OrderLine, OrderLineRequest, OrderState,
};
use tonic::Status;
use tonic::service::Routes;

use crate::support::floor::{self, TIME};

/// An id as long as every other.
const ORDER_ID: &str = "0193b0c4-7e4d-7000-8000-000000000000";

/// A version of the size that levels come to in a measurement.
const VERSION: i64 = 20_000;

/// Serves until the process is ended.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve() -> anyhow::Result<()> {
    floor::serve(|| Routes::new(floor::orders(create_order)))
}

fn create_order(request: CreateOrderRequest) -> Result<CreateOrderResponse, Status> {
    let line = |line: OrderLineRequest| OrderLine {
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
    Ok(CreateOrderResponse {
        order: Some(order),
        replayed: false,
    })
}
