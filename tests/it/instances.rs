//! Two server processes on one PostgreSQL are one shop.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use stockroom::client::Client;

use crate::api::{level, order, put, received, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::process::{Server, stdout};

on_postgres! {
    two_processes_sell_ten_of_ten_units_to_sixty_four_clients,
    two_processes_sell_a_hot_product_exactly_to_its_end,
    one_request_sent_to_two_processes_makes_one_order,
    wide_orders_on_two_processes_never_deadlock,
    first_stock_of_one_level_on_two_processes_is_summed,
    a_threshold_changed_under_load_is_the_one_of_every_level,
    load_counts_what_two_processes_sold_together,
}

struct Pair {
    home: Arc<Home>,
    servers: [Server; 2],
    clients: [Client; 2],
}

impl Pair {
    async fn start(store: StoreKind) -> Self {
        let home = Home::new(store);
        // One after the other here; that they can migrate at once is claimed elsewhere.
        let servers = [
            Server::start(home.clone()).await,
            Server::start(home.clone()).await,
        ];
        let clients = [servers[0].client().await, servers[1].client().await];
        Self {
            home,
            servers,
            clients,
        }
    }

    /// The client of every second caller.
    fn client(&self, i: usize) -> &Client {
        &self.clients[i % 2]
    }
}

async fn two_processes_sell_ten_of_ten_units_to_sixty_four_clients(store: StoreKind) {
    let pair = Pair::start(store).await;
    stock(pair.client(0), "last", 10).await;
    let answers = join_all((0..64).map(|i| {
        let pair = &pair;
        async move {
            let client = pair.servers[i % 2].client().await.retrying();
            client
                .create_order(&order(&format!("buyer-{i}"), &[("last", 1)]))
                .await
        }
    }))
    .await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let reasons: Vec<&str> = refused.map(|e| e.reason.as_str()).collect();
    assert_eq!(reasons, ["INSUFFICIENT_STOCK"; 54]);
    for client in &pair.clients {
        let left = level(client, "last").await;
        assert_eq!((left.on_hand, left.version), (0, 11));
    }
}

async fn two_processes_sell_a_hot_product_exactly_to_its_end(store: StoreKind) {
    let pair = Pair::start(store).await;
    stock(pair.client(0), "hot", 300).await;
    let retrying = [pair.client(0).retrying(), pair.client(1).retrying()];
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
    assert_eq!(pair.home.books().units_sold, 300);
}

async fn one_request_sent_to_two_processes_makes_one_order(store: StoreKind) {
    let pair = Pair::start(store).await;
    stock(pair.client(0), "a", 100).await;
    for round in 0..10 {
        let request = order(&format!("impatient-{round}"), &[("a", 1)]);
        let answers = join_all((0..16).map(|i| {
            let (client, request) = (pair.client(i).retrying(), request.clone());
            async move { client.create_order(&request).await.unwrap() }
        }))
        .await;
        let first = answers[0].order.as_ref();
        assert!(answers.iter().all(|answer| answer.order.as_ref() == first));
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    }
    assert_eq!(level(pair.client(1), "a").await.on_hand, 90);
}

async fn wide_orders_on_two_processes_never_deadlock(store: StoreKind) {
    let pair = Pair::start(store).await;
    let skus: Vec<String> = (0..20)
        .map(|i| format!("{}{i}", ["x", "X", "_", "-"][i % 4]))
        .collect();
    for sku in &skus {
        stock(pair.client(0), sku, 1_000).await;
    }
    let answers = join_all((0..60).map(|i| {
        let mut lines: Vec<_> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
        lines.rotate_left(i % skus.len());
        let client = pair.client(i).retrying();
        async move {
            client
                .create_order(&order(&format!("wide-{i}"), &lines))
                .await
        }
    }))
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(pair.home.sql(deadlocks), "0");
}

async fn first_stock_of_one_level_on_two_processes_is_summed(store: StoreKind) {
    let pair = Pair::start(store).await;
    for round in 0..5 {
        let sku = format!("new-{round}");
        put(pair.client(0), &sku, 0).await;
        let answers = join_all((0..16).map(|i| {
            let client = pair.client(i).retrying();
            let request = received(&format!("{sku}-{i}"), &sku, 5);
            async move { client.adjust_stock(&request).await }
        }))
        .await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let level = level(pair.client(1), &sku).await;
        assert_eq!((level.on_hand, level.version), (80, 16));
    }
}

async fn a_threshold_changed_under_load_is_the_one_of_every_level(store: StoreKind) {
    let here = Stockroom::start(store).await;
    stock(&here.client, "a", 10_000).await;
    let there = Stockroom::on(here.home.clone(), |_| {}).await;
    let clients = [here.client.retrying(), there.client.retrying()];
    let selling = join_all((0..200).map(|i| {
        let client = &clients[i % 2];
        async move {
            client
                .create_order(&order(&format!("o-{i}"), &[("a", 1)]))
                .await
        }
    }));
    // New locations get their first level while the threshold of their SKU changes.
    let receiving = join_all((0..20).map(|i| {
        let mut request = received(&format!("to-{i}"), "a", 1);
        request.location = format!("shelf-{i}");
        let client = &clients[i % 2];
        async move { client.adjust_stock(&request).await }
    }));
    let changing = async {
        for threshold in 1..=10 {
            let products = vec![crate::api::product("a", threshold)];
            let request = stockroom::client::proto::PutProductsRequest { products };
            clients[threshold as usize % 2]
                .put_products(&request)
                .await
                .unwrap();
        }
    };
    let (sold, received, ()) = tokio::join!(selling, receiving, changing);
    assert!(sold.iter().all(Result::is_ok), "{sold:?}");
    assert!(received.iter().all(Result::is_ok), "{received:?}");
    let stale = "SELECT count(*) FROM stock_level WHERE low_stock_threshold <> 10";
    assert_eq!(here.home.sql(stale), "0");
}

async fn load_counts_what_two_processes_sold_together(store: StoreKind) {
    let pair = Pair::start(store).await;
    let [first, second] = &pair.servers;
    let times = ["--seconds=0.5", "--warmup-seconds=0"];
    let mix = ["--skus=3", "--in-flight=8", "--connections=1"];
    let to_second = format!("--addr={}", second.url);
    let flags = [&["load", "--json", &to_second][..], &times, &mix].concat();
    let report: serde_json::Value = serde_json::from_str(&stdout(&first.run(&flags))).unwrap();
    assert_eq!(report["instances"], 2, "{report:#}");
    assert!(report["accepted"].as_i64() > Some(0), "{report:#}");
    assert_eq!(report["accepted_total"], pair.home.books().orders);
}
