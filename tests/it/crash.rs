//! `kill -9`: what was acknowledged is there, once, and the rest is whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{GetOrderRequest, Order};

use crate::api::{level, order, stock};
use crate::chaos::rounds;
use crate::fixture::{Home, StoreKind, eventually};
use crate::process::Server;

on_each_store! {
    orders_acknowledged_before_ten_kills_are_there_once,
}

/// In each round.
const KILLS: usize = 10;
const CLIENTS: usize = 16;
const UNITS: i64 = 100_000;

async fn orders_acknowledged_before_ten_kills_are_there_once(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    stock(&server.client().await, "a", UNITS).await;
    stock(&server.client().await, "b", UNITS).await;
    let mut server = Some(server);
    let (mut sent, mut acknowledged) = (Vec::new(), HashMap::new());
    for round in 0..KILLS * rounds() {
        let running = match server.take() {
            Some(first) => first,
            None => Server::start(home.clone()).await,
        };
        // At another point of some commit each time.
        let (all, ok) = order_until_killed(running, round, 30 + 7 * (round % KILLS)).await;
        sent.extend(all);
        acknowledged.extend(ok.into_iter().map(|made| (made.request_id.clone(), made)));
        home.check_books();
    }
    let server = Server::start(home.clone()).await;
    let client = server.client().await;
    for (request_id, made) in &acknowledged {
        let key = Some(Key::RequestId(request_id.clone()));
        let read = client
            .get_order(GetOrderRequest {
                key,
                ..GetOrderRequest::default()
            })
            .await;
        let read = read.unwrap_or_else(|e| panic!("{request_id} was acknowledged: {e}"));
        assert_eq!(read.order.as_ref(), Some(made));
    }
    // Whoever got no answer asks again.
    let again = client.retrying();
    for request_id in &sent {
        let lines = [("a", 1), ("b", 2)];
        let answer = again
            .create_order(&order(request_id, &lines))
            .await
            .unwrap();
        if let Some(made) = acknowledged.get(request_id) {
            assert_eq!((answer.replayed, answer.order.as_ref()), (true, Some(made)));
        }
    }
    let orders = sent.len() as i64;
    assert_eq!(home.books().orders, orders);
    let (a, b) = (level(&client, "a").await, level(&client, "b").await);
    assert_eq!((a.on_hand, b.on_hand), (UNITS - orders, UNITS - 2 * orders));
}

/// Orders from many clients until the server has been killed, which happens
/// after so many acknowledgements. Returns what was sent and what was acknowledged.
async fn order_until_killed(
    server: Server,
    round: usize,
    kill_after: usize,
) -> (Vec<String>, Vec<Order>) {
    let acknowledged = AtomicUsize::new(0);
    let clients = join_all((0..CLIENTS).map(|_| server.client())).await;
    let ordering = join_all(clients.iter().enumerate().map(|(i, client)| {
        let acknowledged = &acknowledged;
        async move {
            let (mut sent, mut ok) = (Vec::new(), Vec::new());
            loop {
                let request_id = format!("r{round}-c{i}-{}", sent.len());
                sent.push(request_id.clone());
                match client
                    .create_order(order(&request_id, &[("a", 1), ("b", 2)]))
                    .await
                {
                    Ok(answer) => ok.push(answer.order.unwrap()),
                    // The connection is gone: this order's fate is unknown.
                    Err(_) => return (sent, ok),
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    let killing = async {
        eventually("orders are acknowledged", async || {
            acknowledged.load(Ordering::Relaxed) >= kill_after
        })
        .await;
        server.kill();
    };
    let (outcomes, ()) = tokio::join!(ordering, killing);
    let (sent, ok): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
    (sent.concat(), ok.concat())
}
