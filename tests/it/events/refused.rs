//! What Kafka does not take: nothing of it is lost, and nothing else waits for it.

use std::collections::BTreeSet;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use stockroom::events::Topic;

use super::told::{Told, shared_kafka};
use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::proxy::{Line, behind_proxy};

on_each_store! {
    a_missing_topic_is_waited_for,
    a_refused_event_stops_its_key_alone_until_it_is_taken,
    a_topic_that_takes_no_batches_is_told_one_by_one,
}

async fn a_missing_topic_is_waited_for(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::without_topics(kafka);
    let missing = [Topic::OrderCreated, Topic::StockLow];
    for topic in Topic::ALL {
        if !missing.contains(&topic) {
            told.make(topic, &[]).await;
        }
    }
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    stock(&server.client, "sku", 10).await;
    let made = server.client.create_order(order("o", &[("sku", 1)]));
    let order = made.await.unwrap().order.unwrap().order_id;
    let relay = &server.counters.relay;
    eventually("the metrics say what is missing", async || {
        relay.topics_missing.get() == 2 && relay.outbox_rows.get() == 2
    })
    .await;
    for topic in missing {
        told.make(topic, &[]).await;
    }
    told.check(&home, &[order].into()).await;
    assert_eq!(relay.topics_missing.get(), 0);
}

/// An order of so many lines that its event is over the limit.
fn large(request_id: &str) -> stockroom::client::proto::CreateOrderRequest {
    order(request_id, &[("sku", 1); 500])
}

/// The least that an order of one line travels in, with room.
const LIMIT_BYTES: &str = "3000";

async fn a_refused_event_stops_its_key_alone_until_it_is_taken(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let limit = [("max.message.bytes", LIMIT_BYTES)];
    let told = Told::on_with(kafka, Topic::OrderCreated, &limit).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |config| {
        told.configure(config);
        config.events.refused_retry_ms = 500;
        // Each order by itself, so that the refused one has a row of its own.
        config.engine.batch_orders_max = 1;
    })
    .await;
    stock(&server.client, "sku", 100_000).await;
    let relay = &server.counters.relay;
    let mut orders = BTreeSet::new();
    for request in [large("large"), order("small", &[("sku", 1)])] {
        let made = server.client.create_order(request).await.unwrap();
        orders.insert(made.order.unwrap().order_id);
    }
    eventually("the key stops", async || relay.keys_stopped.get() == 1).await;
    let between = (0..20).map(|i| order(&format!("o-{i}"), &[("sku", 1)]));
    for request in between.chain([large("another")]) {
        let made = server.client.create_order(request).await.unwrap();
        orders.insert(made.order.unwrap().order_id);
    }
    // The two that wait are counted, and not what came and went between them.
    eventually("all others are told", async || {
        relay.outbox_rows.get() == 2 && relay.keys_stopped.get() == 2
    })
    .await;
    take_all(&told).await;
    told.check(&home, &orders).await;
    eventually("no key is stopped", async || relay.keys_stopped.get() == 0).await;
}

/// Lets Kafka take orders of any size.
async fn take_all(told: &Told) {
    let name = format!("{}{}", told.prefix, Topic::OrderCreated.name());
    let alter =
        AlterConfig::new(ResourceSpecifier::Topic(&name)).set("max.message.bytes", "1000000");
    let altered = told
        .admin()
        .alter_configs([&alter], &AdminOptions::new())
        .await;
    altered.unwrap()[0].as_ref().unwrap();
}

mod of_two_instances {
    on_postgres! {
        an_instance_that_relays_no_more_shows_no_stopped_key,
        an_instance_that_waited_to_relay_has_one_connection_to_the_outbox,
    }
    use super::*;

    async fn an_instance_that_relays_no_more_shows_no_stopped_key(store: StoreKind) {
        let Some(kafka) = shared_kafka() else { return };
        let limit = [("max.message.bytes", LIMIT_BYTES)];
        let told = Told::on_with(kafka, Topic::OrderCreated, &limit).await;
        let (first, proxy) = behind_proxy(Home::new(store), |config| {
            told.configure(config);
            // Only what this test does lets it go on.
            config.events.refused_retry_ms = 3_600_000;
        })
        .await;
        stock(&first.client, "sku", 100_000).await;
        let made = first.client.create_order(large("large")).await.unwrap();
        let order = made.order.unwrap().order_id;
        let stopped = |server: &Stockroom| server.counters.relay.keys_stopped.get();
        eventually("the key stops", async || stopped(&first) == 1).await;
        let second = Stockroom::on(first.home.clone(), |config| {
            told.configure(config);
            config.events.refused_retry_ms = 500;
        })
        .await;
        proxy.set(Line::Down);
        eventually("the other says so", async || stopped(&second) == 1).await;
        eventually("and it alone", async || stopped(&first) == 0).await;
        proxy.set(Line::Up);
        take_all(&told).await;
        told.check(&first.home, &[order].into()).await;
    }

    /// Connections that move or measure the outbox.
    const OF_OUTBOX: &str = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'stockroom relay'";

    async fn an_instance_that_waited_to_relay_has_one_connection_to_the_outbox(store: StoreKind) {
        let Some(kafka) = shared_kafka() else { return };
        let told = Told::on(kafka).await;
        let home = Home::new(store);
        let mut first = Stockroom::on(home.clone(), |c| told.configure(c)).await;
        let relays = |server: &Stockroom| server.counters.relay.active.get() == 1;
        eventually("the first relays", async || relays(&first)).await;
        let second = Stockroom::on(home.clone(), |c| told.configure(c)).await;
        eventually("each has one", async || home.sql(OF_OUTBOX) == "2").await;
        first.end().unwrap();
        eventually("the second relays", async || relays(&second)).await;
        stock(&second.client, "sku", 1).await;
        told.check(&home, &BTreeSet::new()).await;
        // With what it measured by while it waited it would have two.
        eventually("it has one", async || home.sql(OF_OUTBOX) == "1").await;
    }
}

async fn a_topic_that_takes_no_batches_is_told_one_by_one(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let limit = [("max.message.bytes", LIMIT_BYTES)];
    let told = Told::on_with(kafka, Topic::OrderCreated, &limit).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    stock(&server.client, "sku", 100_000).await;
    let buyers = (0..200).map(|i| {
        let client = &server.client;
        async move {
            let request = order(&format!("o-{i}"), &[("sku", 1)]);
            let made = client.create_order(request).await.unwrap();
            made.order.unwrap().order_id
        }
    });
    let orders = futures_util::future::join_all(buyers).await;
    told.check(&home, &orders.into_iter().collect()).await;
    let relay = &server.counters.relay;
    assert!(relay.failures.get() > 0, "batches were taken");
    assert_eq!(relay.keys_stopped.get(), 0);
}
