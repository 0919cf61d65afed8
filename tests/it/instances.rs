//! Two server processes on one PostgreSQL are one shop. (`guards` claims more of two
//! instances in one process.)

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::api::{order, stock};
use crate::fixture::{Home, StoreKind};
use crate::process::{Server, stdout};

on_postgres! {
    two_processes_sell_a_hot_product_exactly_to_its_end,
    load_counts_what_two_processes_sold_together,
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

/// One started after the other here; that they can migrate at once is claimed elsewhere.
async fn two_servers(home: &Arc<Home>) -> [Server; 2] {
    [
        Server::start(home.clone()).await,
        Server::start(home.clone()).await,
    ]
}
