//! The bodies of events, from domain values.

use super::draft::StockChange;
use crate::domain::Order;
use crate::proto::{
    OrderCancelled, OrderConfirmed, OrderCreated, OrderExpired, StockLow, StockUpdated,
};

pub(super) fn order_created(order: &Order) -> OrderCreated {
    OrderCreated {
        order: Some(order.into()),
    }
}

pub(super) fn order_confirmed(order: &Order) -> OrderConfirmed {
    OrderConfirmed {
        order: Some(order.into()),
    }
}

pub(super) fn order_cancelled(before: &Order, order: &Order) -> OrderCancelled {
    OrderCancelled {
        order: Some(order.into()),
        state_before: before.state as i32,
        restocked: order.moved.len() > before.moved.len(),
    }
}

pub(super) fn order_expired(order: &Order) -> OrderExpired {
    OrderExpired {
        order: Some(order.into()),
    }
}

pub(super) fn stock_updated(change: &StockChange<'_>) -> StockUpdated {
    StockUpdated {
        first_version: change.first.number(),
        level: Some(change.level.into()),
        low_stock_threshold: change.level.low_stock_threshold,
        causes: change.causes.kinds().collect(),
    }
}

pub(super) fn stock_low(change: &StockChange<'_>) -> StockLow {
    StockLow {
        level: Some(change.level.into()),
        low_stock_threshold: change.level.low_stock_threshold,
        available_before: change.available_before,
    }
}
