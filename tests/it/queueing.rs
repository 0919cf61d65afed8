//! The queue while the database stands still: in which order, and in which batches, what
//! waits is made when it goes on. PostgreSQL only.

use std::sync::Arc;

use stockroom::client::proto::{CreateOrderRequest, CreateOrderResponse};
use stockroom::client::{Client, ClientError};
use stockroom::config::Config;
use tokio::task::JoinSet;

use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holding::Hold;

on_postgres! {
    a_crowd_at_one_product_does_not_starve_who_comes_for_another,
    a_batch_has_no_more_lines_than_it_may,
}

/// What waits here is given up by nobody.
fn patient(config: &mut Config) {
    config.server.request_timeout_ms = 60_000;
    config.store.statement_timeout_ms = 60_000;
}

/// Callers of one server whose database stands still, in the order in which they came.
struct Crowd {
    server: Stockroom,
    /// Each with as many calls as a connection takes.
    clients: Vec<Client>,
    answers: JoinSet<Result<CreateOrderResponse, ClientError>>,
}

/// Calls on one connection.
const CALLS_MAX: usize = 1_000;

impl Crowd {
    async fn at(home: Arc<Home>, configure: impl FnOnce(&mut Config)) -> Self {
        let server = Stockroom::on(home, configure).await;
        Self {
            server,
            clients: Vec::new(),
            answers: JoinSet::new(),
        }
    }

    /// More come, behind all others, and wait in the queue.
    async fn joins(&mut self, requests: Vec<CreateOrderRequest>) {
        for request in requests {
            if self.answers.len() == self.clients.len() * CALLS_MAX {
                self.clients.push(self.server.another_client().await);
            }
            let client = self.clients.last().expect("there is one").clone();
            self.answers
                .spawn(async move { client.create_order(request).await });
        }
        let (queue, all) = (&self.server.counters.queue, self.answers.len() as i64);
        eventually("all of them wait", async || queue.orders.get() == all).await;
    }

    /// All of them are made.
    async fn is_served(&mut self) {
        while let Some(answer) = self.answers.join_next().await {
            answer.unwrap().unwrap();
        }
    }
}

fn orders(name: &str, count: usize, lines: &[(&str, i64)]) -> Vec<CreateOrderRequest> {
    let requests = (0..count).map(|i| order(&format!("{name}-{i}"), lines));
    requests.collect()
}

async fn a_crowd_at_one_product_does_not_starve_who_comes_for_another(store: StoreKind) {
    const CROWD: usize = 2_000;
    /// From the one that takes the last of those who came before.
    const COMMITS_MAX: i64 = 3;
    let home = Home::new(store);
    let elsewhere = Stockroom::on(home.clone(), |_| {}).await;
    for sku in ["hot", "cold"] {
        stock(&elsewhere.client, sku, 1_000_000).await;
    }
    let mut crowd = Crowd::at(home.clone(), patient).await;
    // From now on one of the levels is remembered, and the other is not.
    let early = order("early", &[("hot", 1)]);
    crowd.server.client.create_order(early).await.unwrap();
    let hold = Hold::on(&home).await;
    crowd.joins(orders("under-way", 1, &[("hot", 1)])).await;
    hold.has_waiter().await;
    crowd.joins(orders("before", CROWD, &[("hot", 1)])).await;
    crowd.joins(orders("other", 1, &[("cold", 1)])).await;
    crowd.joins(orders("behind", CROWD, &[("hot", 1)])).await;
    drop(hold);
    crowd.is_served().await;
    // All orders of a commit have its time.
    let of = |what: &str, name: &str| {
        format!("(SELECT {what}(created_us) FROM orders WHERE request_id LIKE '{name}-%')")
    };
    let (last_before, first_behind) = (of("max", "before"), of("min", "behind"));
    let in_order = home.sql(&format!("SELECT {last_before} <= {first_behind}"));
    assert_eq!(in_order, "t", "somebody was overtaken");
    let commits = home.sql(&format!(
        "SELECT count(DISTINCT created_us) FROM orders
         WHERE created_us > {last_before} AND created_us <= {}",
        of("max", "other")
    ));
    let commits: i64 = commits.parse().unwrap();
    assert!(commits <= COMMITS_MAX, "{commits}");
}

async fn a_batch_has_no_more_lines_than_it_may(store: StoreKind) {
    /// Two of them are more than a batch may have, and one of them is not.
    const LINES: usize = 600;
    const ORDERS: usize = 5;
    let home = Home::new(store);
    let mut crowd = Crowd::at(home.clone(), |config| {
        config.engine.batch_lines_max = 1_000;
        patient(config);
    })
    .await;
    stock(&crowd.server.client, "a", 1_000_000).await;
    let hold = Hold::on(&home).await;
    crowd
        .joins(orders("wide", ORDERS, &[("a", 1); LINES]))
        .await;
    hold.has_waiter().await;
    drop(hold);
    crowd.is_served().await;
    // All orders of a commit have its time.
    let commits = home.sql("SELECT count(DISTINCT created_us) FROM orders");
    assert_eq!(commits, ORDERS.to_string());
}
