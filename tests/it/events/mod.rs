//! Events: what is committed is told to Kafka, once it is there to be told.

mod everything;
mod faults;
mod heard;
mod refused;
mod told;
mod transitions;

use std::collections::BTreeSet;

use prost::Message as _;
use stockroom::client::proto::{MovementKind, OrderCreated, Product, StockLow, StockUpdated};
use stockroom::events::Topic;
use tonic::Request;

use self::told::{Told, shared_kafka};
use crate::api::{batch_of, counted, order, product, put, received, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use stockroom::client::proto::PutProductsRequest;

on_each_store! {
    kafka_is_told_what_was_committed,
    an_event_says_what_happened_where_and_when_and_who_asked,
    a_level_that_becomes_low_is_told_once,
    a_changed_threshold_is_told,
    what_is_sold_before_it_was_ever_there_has_become_low,
    without_brokers_nothing_is_written,
}

async fn kafka_is_told_what_was_committed(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    for sku in ["a", "b", "c"] {
        stock(&server.client, sku, 1_000).await;
    }
    let buyers = (0..200).map(|i| {
        let client = &server.client;
        let lines = [("a", 1), (["b", "c"][i % 2], 2)];
        async move {
            let request = order(&format!("o-{i}"), &lines);
            let made = client.create_order(request).await.unwrap();
            made.order.unwrap().order_id
        }
    });
    let orders = futures_util::future::join_all(buyers).await;
    // One that is refused is no event.
    let refused = server.client.create_order(order("no", &[("a", 10_000)]));
    refused.await.unwrap_err();
    told.check(&home, &orders.into_iter().collect()).await;
}

async fn an_event_says_what_happened_where_and_when_and_who_asked(store: StoreKind) {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    stock(&server.client, "sku", 10).await;
    let mut request = Request::new(order("traced", &[("sku", 3)]));
    request
        .metadata_mut()
        .insert("traceparent", TRACE.parse().unwrap());
    let traced = server.orders().create_order(request).await.unwrap();
    let traced = traced.into_inner().order.unwrap();
    let plain = server.client.create_order(order("plain", &[("sku", 1)]));
    let plain = plain.await.unwrap().order.unwrap();
    let orders = [&traced, &plain].map(|order| order.order_id.clone());
    let heard = told.check(&home, &orders.into()).await;

    let created = |id: &str| {
        let found = heard.iter().find(|it| it.key == id);
        let found = found.unwrap();
        let body = OrderCreated::decode(&*found.body).unwrap();
        (found.headers.clone(), body.order.unwrap())
    };
    let (headers, body) = created(&traced.order_id);
    assert_eq!(body, traced);
    assert_eq!(headers["ce_specversion"], "1.0");
    assert_eq!(headers["ce_type"], "stockroom.v1.OrderCreated");
    assert!(headers["ce_source"].starts_with("urn:uuid:"));
    assert_eq!(headers["content-type"], "application/protobuf");
    assert_eq!(headers["ce_time"], traced.create_time.unwrap().to_string());
    assert_eq!(headers["traceparent"], TRACE);
    let (headers, _) = created(&plain.order_id);
    let id = plain.order_id.replace('-', "");
    assert!(headers["traceparent"].starts_with(&format!("00-{id}-")));

    let updates = heard.iter().filter(|it| it.topic == Topic::StockUpdated);
    let updates: Vec<_> = updates
        .map(|it| (&it.headers, StockUpdated::decode(&*it.body).unwrap()))
        .collect();
    let (headers, sold) = &updates[1];
    assert_eq!(headers["traceparent"], TRACE);
    assert_eq!(sold.causes, [MovementKind::Ordered as i32]);
    assert_eq!(
        (sold.first_version, sold.level.as_ref().unwrap().on_hand),
        (2, 7)
    );
    let ids: BTreeSet<&str> = heard.iter().map(|it| &*it.headers["ce_id"]).collect();
    assert_eq!(ids.len(), heard.len());
}

async fn a_level_that_becomes_low_is_told_once(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    let client = &server.client;
    put(client, "sku", 10).await;
    let mut orders = BTreeSet::new();
    // The first stock comes to a shelf that was never anything but empty.
    for (i, change) in [8_i64, 12, -5, -9, -1, 20, -20].into_iter().enumerate() {
        if change > 0 {
            let request = received(&format!("r-{i}"), "sku", change);
            client.adjust_stock(request).await.unwrap();
        } else {
            let made = client.create_order(order(&format!("o-{i}"), &[("sku", -change)]));
            orders.insert(made.await.unwrap().order.unwrap().order_id);
        }
    }
    // First units, and how few of them stay, in one commit.
    put(client, "other", 10).await;
    let changes = [received("", "other", 100), counted("", "other", 5)];
    let together = client.batch_adjust_stock(batch_of("together", changes));
    together.await.unwrap();
    let heard = told.check(&home, &orders).await;
    let low = heard.iter().filter(|it| it.topic == Topic::StockLow);
    let low: BTreeSet<_> = low
        .map(|it| {
            let low = StockLow::decode(&*it.body).unwrap();
            let level = low.level.unwrap();
            let units = (low.available_before, level.available);
            (level.sku, level.version, units)
        })
        .collect();
    let expected = [
        ("sku", 4, (15, 6)),
        ("sku", 7, (25, 5)),
        ("other", 2, (0, 5)),
    ];
    let expected = expected.map(|(sku, version, units)| (sku.to_owned(), version, units));
    assert_eq!(low, BTreeSet::from(expected));
}

async fn a_changed_threshold_is_told(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    stock(&server.client, "sku", 5).await;
    for threshold in [4, 5, 6] {
        let products = vec![product("sku", threshold)];
        let put = server.client.put_products(PutProductsRequest {
            products,
            ..Default::default()
        });
        put.await.unwrap();
    }
    let heard = told.check(&home, &BTreeSet::new()).await;
    let low = heard.iter().filter(|it| it.topic == Topic::StockLow);
    let low: Vec<_> = low.map(|it| StockLow::decode(&*it.body).unwrap()).collect();
    let [low] = &low[..] else { panic!("{low:?}") };
    assert_eq!(low.low_stock_threshold, 5);
    assert_eq!(low.level.as_ref().unwrap().version, 3);
}

async fn what_is_sold_before_it_was_ever_there_has_become_low(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    let backordered = Product {
        backorder_limit: 10,
        ..product("sku", 5)
    };
    let put = server.client.put_products(PutProductsRequest {
        products: vec![backordered, product("none", 5)],
        ..Default::default()
    });
    put.await.unwrap();
    // Nothing was there, and somebody has looked: nobody has taken any.
    let looked = counted("looked", "none", 0);
    server.client.adjust_stock(looked).await.unwrap();
    let mut orders = BTreeSet::new();
    for id in ["first", "second"] {
        let made = server.client.create_order(order(id, &[("sku", 3)]));
        orders.insert(made.await.unwrap().order.unwrap().order_id);
    }
    let heard = told.check(&home, &orders).await;
    let low = heard.iter().filter(|it| it.topic == Topic::StockLow);
    let low: Vec<_> = low.map(|it| StockLow::decode(&*it.body).unwrap()).collect();
    let [low] = &low[..] else { panic!("{low:?}") };
    let level = low.level.as_ref().unwrap();
    assert_eq!((level.version, level.available), (1, -3));
    assert_eq!(low.available_before, 0);
}

async fn without_brokers_nothing_is_written(store: StoreKind) {
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |_| {}).await;
    stock(&server.client, "sku", 5).await;
    let made = server.client.create_order(order("o", &[("sku", 1)]));
    made.await.unwrap();
    let config = home.store_config();
    let store = stockroom::storage::Store::open(&config, stockroom::storage::Access::Read);
    let store = store.await.unwrap();
    assert_eq!(store.outbox().backlog().await.unwrap().rows, 0);
    store.close().await;
}
