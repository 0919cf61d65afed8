//! What is asked for, at random, and the commands that it becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use stockroom::domain::{
    Adjustment, AdjustmentCall, Adjustments, Change, Hold, LevelKey, Location, MovementKind,
    NewOrder, NewOrderLine, Order, OrderChange, OrderId, Quantity, RequestId, Sku, StockLevel,
    Timestamp, Transition, Version,
};
use stockroom::engine::{Command, Prepared};

/// The first two are products with stock, the third never had any, and the
/// last is no product.
pub(super) const SKUS: [&str; 4] = ["B", "a", "bare", "unknown"];
pub(super) const LOCATIONS: [&str; 2] = ["main", "york"];

/// The backorder limit of each of [`SKUS`].
pub(super) type Limits = [i64; SKUS.len()];

/// Of products, most of which allow some units.
pub(super) fn limits() -> impl Strategy<Value = Limits> {
    let limit = || prop_oneof![1 => Just(0), 2 => 1..9_i64];
    (limit(), limit(), limit()).prop_map(|(first, second, third)| [first, second, third, 0])
}

/// What a test command asks for, before it gets its ids.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Order(Vec<(usize, usize, i64)>, Option<i64>),
    /// Of one of the orders that there are when its batch begins.
    Change(Index, Transition),
    /// By AdjustStock, BatchAdjustStock or TransferStock.
    Adjust(AdjustmentCall, Vec<Asked>),
}

#[derive(Debug, Clone)]
pub(super) struct Asked {
    sku: usize,
    location: usize,
    change: Change,
    expected: Option<i64>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let line = (0..SKUS.len(), 0..LOCATIONS.len(), 1..6_i64);
    // Unknown SKUs are rarer than in a fair draw, so that most orders can fit.
    let line = (line, 0..4).prop_map(|((sku, location, units), rare)| {
        let sku = if SKUS[sku] == "unknown" && rare > 0 {
            0
        } else {
            sku
        };
        (sku, location, units)
    });
    let change = prop_oneof![
        (-9..15_i64)
            .prop_filter("0 is invalid", |d| *d != 0)
            .prop_map(Change::Delta),
        (-9..12_i64).prop_map(Change::SetOnHand),
        Just(Change::Delta(StockLevel::UNITS_MAX)),
    ];
    let moment = || (1..9_i64).prop_map(Timestamp::from_us);
    let transition = prop_oneof![
        3 => Just(Transition::Confirm),
        3 => any::<bool>().prop_map(|restock| Transition::Cancel { reason: "why".into(), restock }),
        1 => (1..9_i64).prop_map(|at| Transition::Extend(hold(at))),
        2 => moment().prop_map(Transition::Expire),
    ];
    let held = prop::option::of(1..9_i64);
    let expected = prop_oneof![3 => Just(None), 1 => (0..6_i64).prop_map(Some)];
    let asked = (0..SKUS.len(), 0..LOCATIONS.len(), change, expected).prop_map(
        |(sku, location, change, expected)| Asked {
            sku,
            location,
            change,
            expected,
        },
    );
    let single = asked.clone().prop_map(|asked| vec![asked]);
    let batch = prop::collection::vec(asked, 1..5);
    prop_oneof![
        6 => (prop::collection::vec(line, 1..5), held).prop_map(|(lines, hold)| Ask::Order(lines, hold)),
        6 => (any::<Index>(), transition).prop_map(|(order, change)| Ask::Change(order, change)),
        3 => single.prop_map(|asked| Ask::Adjust(AdjustmentCall::Adjust, asked)),
        2 => batch.prop_map(|asked| Ask::Adjust(AdjustmentCall::Batch, asked)),
        2 => transfer().prop_map(|asked| Ask::Adjust(AdjustmentCall::Transfer, asked)),
    ]
}

/// Some SKUs, each once, from one location to the other.
fn transfer() -> impl Strategy<Value = Vec<Asked>> {
    let units = prop::collection::vec(prop::option::of(1..6_i64), 3);
    (units, 0..LOCATIONS.len()).prop_map(|(units, from)| {
        let lines = units.into_iter().enumerate();
        let mut lines: Vec<(usize, i64)> = lines
            .filter_map(|(sku, units)| Some((sku, units?)))
            .collect();
        if lines.is_empty() {
            lines.push((SKUS.len() - 1, 1));
        }
        let half = |sku, location, units| Asked {
            sku,
            location,
            change: Change::Delta(units),
            expected: None,
        };
        let halves = lines
            .into_iter()
            .flat_map(|(sku, units)| [half(sku, from, -units), half(sku, 1 - from, units)]);
        halves.collect()
    })
}

/// A hold that is over at this time.
fn hold(at: i64) -> Hold {
    Hold {
        length_us: at,
        expires: Timestamp::from_us(at),
    }
}

/// Batches of (request id, ask). A repeat sends an earlier command again; other
/// commands may take the same id for something else.
pub(super) fn batches() -> impl Strategy<Value = Vec<Vec<(usize, Ask)>>> {
    let command = (
        0..30_usize,
        ask(),
        prop::option::weighted(0.25, any::<Index>()),
    );
    let batch = prop::collection::vec(command, 1..12);
    prop::collection::vec(batch, 1..4).prop_map(|batches| {
        let mut earlier: Vec<(usize, Ask)> = Vec::new();
        let mut repeated = |(id, ask, repeat): (usize, Ask, Option<Index>)| {
            let command = match repeat {
                Some(index) if !earlier.is_empty() => index.get(&earlier).clone(),
                _ => (id, ask),
            };
            earlier.push(command.clone());
            command
        };
        let batches = batches.into_iter();
        batches
            .map(|batch| batch.into_iter().map(&mut repeated).collect())
            .collect()
    })
}

pub(super) fn key(sku: usize, location: usize) -> LevelKey {
    LevelKey {
        sku: Sku::new(SKUS[sku]).unwrap(),
        location: Location::new(LOCATIONS[location]).unwrap(),
    }
}

/// Nothing for a change of an order where there is none.
pub(super) fn prepared(
    number: u128,
    id: usize,
    ask: &Ask,
    orders: &[Arc<Order>],
) -> Option<Prepared> {
    let request_id = RequestId::new(format!("request-{id}")).unwrap();
    Some(Prepared::from(match ask {
        Ask::Change(_, _) if orders.is_empty() => return None,
        Ask::Change(index, transition) => Command::ChangeOrder(OrderChange {
            order: Arc::clone(index.get(orders)),
            request_id: (!matches!(transition, Transition::Expire(_))).then_some(request_id),
            transition: transition.clone(),
        }),
        Ask::Order(lines, held) => Command::CreateOrder(NewOrder {
            order_id: OrderId(uuid::Uuid::from_u128(number)),
            request_id,
            lines: lines
                .iter()
                .map(|&(sku, location, units)| NewOrderLine {
                    key: key(sku, location),
                    quantity: Quantity::new(units).unwrap(),
                })
                .collect(),
            customer_ref: String::new(),
            labels: BTreeMap::new(),
            hold: held.map(hold),
        }),
        Ask::Adjust(call, asked) => Command::AdjustStock(Adjustments {
            request_id,
            call: *call,
            changes: asked
                .iter()
                .map(|asked| Adjustment {
                    key: key(asked.sku, asked.location),
                    change: asked.change,
                    kind: MovementKind::Correction,
                    note: String::new(),
                    expected_version: asked.expected.map(Version::new),
                })
                .collect(),
        }),
    }))
}
