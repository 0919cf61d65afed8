//! Commands in few words, and a planner of them, for the engine's own tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::plan::{Events, Planner};
use super::{Command, Prepared};
use crate::domain::{
    Adjustment, AdjustmentCall, Adjustments, Change, Hold, MovementKind, NewOrder, NewOrderLine,
    Order, OrderChange, OrderId, Quantity, RequestId, StockLevel, Timestamp, Transition,
};
use crate::samples::{key, loaded};

fn request_id(id: &str) -> RequestId {
    RequestId::new(id).unwrap()
}

/// A planner that knows one level, and no request.
pub(super) fn planner(now_us: i64, level: StockLevel) -> Planner {
    let now = Timestamp::from_us(now_us);
    let mut planner = Planner::new(now, Arc::default(), Events::Off);
    planner.know(loaded(level));
    planner
}

/// An order of so many units.
pub(super) fn order(id: &str, sku: &str, units: i64) -> Prepared {
    ordered(id, sku, units, None)
}

/// An order on hold.
pub(super) fn hold(id: &str, sku: &str, units: i64) -> Prepared {
    ordered(id, sku, units, Some(Hold::of(Hold::LENGTH_MIN_US)))
}

fn ordered(id: &str, sku: &str, units: i64, hold: Option<Hold>) -> Prepared {
    let line = NewOrderLine {
        key: key(sku),
        quantity: Quantity::new(units).unwrap(),
    };
    Prepared::from(Command::CreateOrder(NewOrder {
        order_id: OrderId(Uuid::now_v7()),
        request_id: request_id(id),
        lines: vec![line],
        customer_ref: String::new(),
        labels: BTreeMap::new(),
        hold,
    }))
}

/// A change of an order.
pub(super) fn change(id: &str, order: &Arc<Order>, transition: Transition) -> Prepared {
    Prepared::from(Command::ChangeOrder(OrderChange {
        order: Arc::clone(order),
        request_id: Some(request_id(id)),
        transition,
    }))
}

/// Goods that came in.
pub(super) fn received(id: &str, sku: &str, units: i64) -> Prepared {
    Prepared::from(Command::AdjustStock(Adjustments {
        request_id: request_id(id),
        call: AdjustmentCall::Adjust,
        changes: vec![Adjustment {
            key: key(sku),
            change: Change::Delta(units),
            kind: MovementKind::Received,
            note: String::new(),
            expected_version: None,
        }],
    }))
}
