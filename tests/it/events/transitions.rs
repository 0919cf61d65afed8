//! What becomes of orders is told, each change once and with the order as it left it.

use std::collections::BTreeSet;

use prost::Message as _;
use stockroom::client::proto::{
    CancelOrderRequest, MovementKind, Order, OrderCancelled, OrderConfirmed, OrderExpired,
    OrderState, StockUpdated,
};
use stockroom::events::Topic;

use super::told::{Heard, Told, shared_kafka};
use crate::api::{cancel, confirm, extend, level, order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holds::{hold, read};

on_each_store! {
    what_becomes_of_orders_is_told,
}

async fn what_becomes_of_orders_is_told(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |config| {
        told.configure(config);
        config.holds.sweep_interval_ms = 10;
    })
    .await;
    let client = &server.client;
    stock(client, "a", 100).await;
    let mut orders = BTreeSet::new();
    let taken = hold(client, "taken", &[("a", 1)], 60).await.order_id;
    let longer = extend("longer", &taken, 600);
    client.extend_hold(longer).await.unwrap();
    for _ in 0..2 {
        // A repeat is no event.
        client.confirm_order(confirm("take", &taken)).await.unwrap();
    }
    let back = hold(client, "back", &[("a", 2)], 60).await.order_id;
    client.cancel_order(cancel("give", &back)).await.unwrap();
    let lost = client
        .create_order(order("lost", &[("a", 3)]))
        .await
        .unwrap();
    let lost = lost.order.unwrap().order_id;
    let request = CancelOrderRequest {
        reason: "broken".to_owned(),
        restock: Some(false),
        ..cancel("throw", &lost)
    };
    client.cancel_order(request).await.unwrap();
    let over = hold(client, "over", &[("a", 4)], 1).await.order_id;
    eventually("the hold has ended", async || {
        level(client, "a").await.reserved == 0
    })
    .await;
    orders.extend([&taken, &back, &lost, &over].map(Clone::clone));
    let heard = told.check(&home, &orders).await;

    let now = async |id: &str| read(client, id).await.order;
    let of = |topic| heard.iter().filter(move |it| it.topic == topic);
    let confirmed: Vec<_> = of(Topic::OrderConfirmed)
        .map(|it| body(it, |b| OrderConfirmed::decode(b).unwrap().order))
        .collect();
    assert_eq!(confirmed, [now(&taken).await]);
    let expired: Vec<_> = of(Topic::OrderExpired)
        .map(|it| body(it, |b| OrderExpired::decode(b).unwrap().order))
        .collect();
    assert_eq!(expired, [now(&over).await]);
    let mut cancelled: Vec<OrderCancelled> = of(Topic::OrderCancelled)
        .map(|it| OrderCancelled::decode(&*it.body).unwrap())
        .collect();
    cancelled.sort_by_key(|it| it.state_before);
    let expected = [
        (now(&lost).await, OrderState::Confirmed, false),
        (now(&back).await, OrderState::Pending, true),
    ];
    let told = cancelled
        .iter()
        .map(|it| (it.order.clone(), it.state_before(), it.restocked));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    check_causes(&heard);
}

/// Each way in which orders move stock is a cause.
fn check_causes(heard: &[Heard]) {
    let of_stock = heard.iter().filter(|it| it.topic == Topic::StockUpdated);
    let causes: BTreeSet<i32> = of_stock
        .flat_map(|it| StockUpdated::decode(&*it.body).unwrap().causes)
        .collect();
    for kind in [
        MovementKind::Reserved,
        MovementKind::Confirmed,
        MovementKind::Cancelled,
        MovementKind::Expired,
    ] {
        assert!(causes.contains(&kind.into()), "{kind:?}");
    }
}

/// The order in an event, which is keyed by it.
fn body(event: &Heard, decode: impl Fn(&[u8]) -> Option<Order>) -> Option<Order> {
    let order = decode(&event.body);
    assert_eq!(
        order.as_ref().map(|order| &order.order_id),
        Some(&event.key)
    );
    order
}
