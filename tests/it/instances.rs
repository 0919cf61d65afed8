//! Two server processes on one PostgreSQL are one shop. (`guards` claims more of two
//! instances in one process.)

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use stockroom::client::Client;
use stockroom::client::proto::DeleteProductRequest;
use stockroom::config::{Config, LockingStrategy};

use crate::api::{confirm, order, put, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::holds::{hold, read};
use crate::process::{Server, stdout};

on_postgres! {
    two_processes_sell_a_hot_product_exactly_to_its_end,
    load_counts_what_two_processes_sold_together,
    columns_that_a_newer_version_adds_break_no_statement,
}

async fn two_processes_sell_a_hot_product_exactly_to_its_end(store: StoreKind) {
    let home = Home::new(store);
    let servers = two_servers(&home).await;
    let clients = [servers[0].client().await, servers[1].client().await];
    stock(&clients[0], "hot", 300).await;
    let retrying = clients.map(|client| client.retrying());
    let requests: Vec<_> = (0..600)
        .map(|i| order(&format!("o-{i}"), &[("hot", 1)]))
        .collect();
    let buyers = (0..32).map(|caller| {
        let (requests, client) = (&requests, &retrying[caller % 2]);
        async move {
            let mut outcomes = BTreeMap::<String, usize>::new();
            for request in requests.iter().skip(caller).step_by(32) {
                let answer = client.create_order(request).await;
                let outcome = answer.err().map_or("OK".to_owned(), |e| e.reason);
                *outcomes.entry(outcome).or_default() += 1;
            }
            outcomes
        }
    });
    let mut outcomes = BTreeMap::<String, usize>::new();
    for (outcome, count) in join_all(buyers).await.into_iter().flatten() {
        *outcomes.entry(outcome).or_default() += count;
    }
    let expected = [
        ("INSUFFICIENT_STOCK".to_owned(), 300),
        ("OK".to_owned(), 300),
    ];
    assert_eq!(outcomes, BTreeMap::from(expected));
    assert_eq!(home.books().units_sold, 300);
}

async fn load_counts_what_two_processes_sold_together(store: StoreKind) {
    let home = Home::new(store);
    let [first, second] = two_servers(&home).await;
    let times = ["--seconds=0.5", "--warmup-seconds=0"];
    let mix = ["--skus=3", "--in-flight=8", "--connections=1"];
    let to_second = format!("--addr={}", second.url);
    let flags = [&["load", "--json", &to_second][..], &times, &mix].concat();
    let report: serde_json::Value = serde_json::from_str(&stdout(&first.run(&flags))).unwrap();
    assert_eq!(report["instances"], 2, "{report:#}");
    assert!(report["accepted"].as_i64() > Some(0), "{report:#}");
    assert_eq!(report["accepted_total"], home.books().orders);
}

async fn columns_that_a_newer_version_adds_break_no_statement(store: StoreKind) {
    for strategy in [LockingStrategy::Optimistic, LockingStrategy::Pessimistic] {
        let configure = |config: &mut Config| config.locking.strategy = strategy;
        let server = Stockroom::with(store, configure).await;
        // Twice, so that what is prepared with the second use is prepared as well.
        for sku in ["a", "b"] {
            from_first_stock_to_deletion(&server.client, sku).await;
        }
        for table in ["product", "stock_level", "movement", "orders"] {
            let add = format!("ALTER TABLE {table} ADD COLUMN added_later bigint");
            server.home.sql(&add);
        }
        for sku in ["c", "d"] {
            from_first_stock_to_deletion(&server.client, sku).await;
        }
    }
}

/// Whatever may become of a product, its level and an order of it.
async fn from_first_stock_to_deletion(client: &Client, sku: &str) {
    stock(client, sku, 2).await;
    // Its level has to follow.
    put(client, sku, 5).await;
    let held = hold(client, &format!("hold-{sku}"), &[(sku, 2)], 60).await;
    let confirmed = confirm(&format!("confirm-{sku}"), &held.order_id);
    client.confirm_order(confirmed).await.unwrap();
    let order = read(client, &held.order_id).await;
    assert!(!order.movements.is_empty());
    let deletion = DeleteProductRequest {
        sku: sku.to_owned(),
        ..DeleteProductRequest::default()
    };
    client.delete_product(deletion).await.unwrap();
}

/// One started after the other here; that they can migrate at once is claimed elsewhere.
async fn two_servers(home: &Arc<Home>) -> [Server; 2] {
    [
        Server::start(home.clone()).await,
        Server::start(home.clone()).await,
    ]
}
