//! Levels and commands in few words, for the engine's own tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Command, Prepared};
use crate::domain::{
    Adjustment, AdjustmentCall, Adjustments, Change, Hold, LevelKey, Location, MovementKind,
    NewOrder, NewOrderLine, Order, OrderChange, OrderId, Quantity, RequestId, Sku, StockLevel,
    Transition, Version,
};

fn key(sku: &str) -> LevelKey {
    LevelKey {
        sku: Sku::new(sku).unwrap(),
        location: Location::new("main").unwrap(),
    }
}

fn request_id(id: &str) -> RequestId {
    RequestId::new(id).unwrap()
}

/// A level that nothing is reserved of.
pub(super) fn level(sku: &str, version: i64, on_hand: i64) -> StockLevel {
    StockLevel {
        version: Version::new(version),
        on_hand,
        ..StockLevel::none(key(sku))
    }
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
