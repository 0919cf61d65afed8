//! The database goes away and comes back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{
    CreateOrderRequest, GetOrderRequest, GetStockRequest, GoodbyeReason,
};
use stockroom::client::{WatchEvent, WatchTargets};
use stockroom::config::LockingStrategy;
use tonic::{Code, Request};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::api::{Refusal, hold_of, level, order, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, in_time};
use crate::proxy::{Action, Line, Place, Proxy, behind_proxy};
use crate::scrape::get;
use crate::watching::{Watcher, everything, watch_of};

on_postgres! {
    a_database_that_is_away_is_store_unavailable_until_it_is_back,
    a_server_can_start_before_its_database,
    connections_cut_under_load_lose_no_acknowledged_order,
    a_database_that_falls_silent_does_not_wedge_the_server,
    callers_who_hang_up_on_a_silent_database_take_no_connection_with_them,
    a_watch_outlives_a_database_that_is_away,
    holds_hear_together_that_the_database_is_silent,
    a_role_that_may_not_log_in_is_store_unavailable_until_it_may,
    an_order_after_a_pause_finds_a_connection_in_the_smallest_pool,
    a_database_that_falls_silent_while_it_is_connected_to_is_found_again,
}

mod of_the_network {
    use super::*;

    on_each_store! { a_client_watches_through_cut_connections_to_the_truth }

    async fn a_client_watches_through_cut_connections_to_the_truth(store: StoreKind) {
        const ORDERS: i64 = 200;
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 1_000).await;
        let proxy = Proxy::before(server.addr).await;
        let url = format!("http://{}", proxy.addr);
        let client = stockroom::client::Client::connect(&url, 1).await.unwrap();
        let mut watch = client.watch(WatchTargets::all());
        let selling = async {
            for i in 0..ORDERS {
                server
                    .client
                    .create_order(order(&format!("o-{i}"), &[("a", 1)]))
                    .await
                    .unwrap();
                if i % 40 == 39 {
                    proxy.cut();
                }
            }
        };
        let watching = async {
            let (mut last, mut interruptions) = (0, 0);
            while last < ORDERS + 1 {
                match watch.next().await.unwrap() {
                    WatchEvent::Changes { levels, reset } => {
                        assert!(!reset);
                        for level in levels {
                            assert!(level.version > last);
                            last = level.version;
                        }
                    }
                    WatchEvent::Interrupted { .. } => interruptions += 1,
                    _ => {}
                }
            }
            interruptions
        };
        let watching = in_time("the client ends at the truth", watching);
        let (interruptions, ()) = tokio::join!(watching, selling);
        assert!(interruptions > 0, "no stream was cut");
        assert_eq!(watch.repeats(), 0, "the server sent something twice");
    }
}

async fn a_database_that_is_away_is_store_unavailable_until_it_is_back(store: StoreKind) {
    let (server, proxy) = behind_proxy(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 10).await;
    proxy.set(Line::Down);
    let request = order("persistent", &[("a", 1)]);
    let read = GetStockRequest {
        sku: "a".to_owned(),
        ..GetStockRequest::default()
    };
    let refusals: [Refusal; 2] = [
        refusal(server.orders().create_order(request.clone()).await),
        refusal(server.inventory().get_stock(read).await),
    ];
    for refused in &refusals {
        refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
        assert_eq!(refused.retry_delay(), Duration::from_secs(1));
        assert!(
            !refused.message.contains("127.0.0.1"),
            "internals leak: {}",
            refused.message
        );
    }
    let ready = async || get(server.http, "/readyz").await.status;
    server.wait_for_health(ServingStatus::NotServing).await;
    assert_eq!(ready().await, 503);
    proxy.set(Line::Up);
    server.wait_for_health(ServingStatus::Serving).await;
    assert_eq!(ready().await, 200);
    server
        .client
        .retrying()
        .create_order(&request)
        .await
        .unwrap();
    assert_eq!(level(&server.client, "a").await.on_hand, 9);
}

async fn a_server_can_start_before_its_database(store: StoreKind) {
    let home = Home::new(store);
    let proxy = Proxy::before_database_of(&home).await;
    proxy.set(Line::Down);
    let url = proxy.url(&home);
    let server = Stockroom::not_ready(home, |config| {
        config.store.url = url;
        config.store.acquire_timeout_ms = 200;
    })
    .await;
    server.waits_for_its_store().await;
    proxy.set(Line::Up);
    server.wait_for_health(ServingStatus::Serving).await;
    stock(&server.client, "a", 1).await;
}

async fn connections_cut_under_load_lose_no_acknowledged_order(store: StoreKind) {
    const ORDERS: usize = 400;
    let (server, proxy) = behind_proxy(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 10_000).await;
    let retrying = server.client.retrying();
    let ordering = join_all((0..8).map(|caller| {
        let retrying = &retrying;
        async move {
            let mut made = Vec::new();
            for i in (caller..ORDERS).step_by(8) {
                let request = order(&format!("o-{i}"), &[("a", 1)]);
                made.push(
                    retrying
                        .create_order(&request)
                        .await
                        .unwrap()
                        .order
                        .unwrap(),
                );
            }
            made
        }
    }));
    let cutting = async {
        for share in 1..10 {
            let enough = (ORDERS * share / 10) as u64;
            eventually("orders run", async || {
                server.counters.orders.accepted.get() >= enough
            })
            .await;
            proxy.cut();
        }
    };
    let (made, ()) = tokio::join!(ordering, cutting);
    for order_made in made.concat() {
        let request = order(&order_made.request_id, &[("a", 1)]);
        let again = retrying.create_order(&request).await.unwrap();
        assert_eq!((again.replayed, again.order), (true, Some(order_made)));
    }
    assert_eq!(server.home.books().orders, ORDERS as i64);
    // A cut commit is settled before its callers hear of it.
    let met = retrying.retries() + server.counters.commit.settled.get();
    assert!(met > 0, "nothing met a cut connection");
}

async fn a_database_that_falls_silent_does_not_wedge_the_server(store: StoreKind) {
    let (server, proxy) = behind_proxy(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 100).await;
    proxy.set(Line::Silent);
    let request = order("unheard", &[("a", 1)]);
    let began = Instant::now();
    let answer = server.client.create_order(request.clone()).await;
    assert!(answer.is_err(), "nobody can have heard it");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "took {:?}",
        began.elapsed()
    );
    // The cable is back; what had been connected stays silent.
    proxy.set(Line::Up);
    let began = Instant::now();
    server
        .client
        .retrying()
        .create_order(&request)
        .await
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "took {:?}",
        began.elapsed()
    );
    server.wait_for_health(ServingStatus::Serving).await;
}

async fn callers_who_hang_up_on_a_silent_database_take_no_connection_with_them(store: StoreKind) {
    const PATIENCE: Duration = Duration::from_millis(300);
    let home = Home::new(store);
    let (server, proxy) = behind_proxy(home, |c| c.store.pool_max = 2).await;
    stock(&server.client, "a", 1).await;
    // More of them than there are connections, in time to find these unused for a moment only.
    let reads = async || {
        let reads = (0..16).map(|_| {
            let mut request = Request::new(GetStockRequest {
                sku: "a".to_owned(),
                ..GetStockRequest::default()
            });
            request.set_timeout(PATIENCE);
            let mut inventory = server.inventory();
            async move { inventory.get_stock(request).await.is_ok() }
        });
        join_all(reads).await
    };
    // A connection that is new may take a busy machine as long as they wait.
    eventually("reads are answered", async || reads().await.contains(&true)).await;
    proxy.set(Line::Silent);
    assert!(!reads().await.contains(&true), "nobody can have heard them");
    // The cable is back; what had been connected stays silent.
    proxy.set(Line::Up);
    eventually("reads are answered again", async || {
        reads().await.contains(&true)
    })
    .await;
}

async fn a_watch_outlives_a_database_that_is_away(store: StoreKind) {
    let (server, proxy) = behind_proxy(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 100).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    proxy.set(Line::Down);
    // Who comes now cannot be given a snapshot, and is told to come back.
    let mut turned_away = Watcher::open(&server, watch_of(vec![everything()])).await;
    let (reason, status) = turned_away.until_goodbye().await;
    assert_eq!(reason, GoodbyeReason::StoreUnavailable);
    Refusal::of(&status).is(Code::Unavailable, "STORE_UNAVAILABLE");
    proxy.set(Line::Up);
    server
        .client
        .retrying()
        .create_order(&order("after", &[("a", 1)]))
        .await
        .unwrap();
    watcher.until("a", 2).await;
}

async fn holds_hear_together_that_the_database_is_silent(store: StoreKind) {
    // One after the other they would take longer than a call may.
    const HOLDS: usize = 64;
    let (server, proxy) = behind_proxy(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 100).await;
    proxy.set(Line::Silent);
    let holds = (0..HOLDS).map(|i| {
        let request = CreateOrderRequest {
            hold: Some(hold_of(60)),
            ..order(&format!("hold-{i}"), &[("a", 1)])
        };
        let mut orders = server.orders();
        async move { refusal(orders.create_order(request).await) }
    });
    for refused in join_all(holds).await {
        refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    }
    proxy.set(Line::Up);
}

async fn a_role_that_may_not_log_in_is_store_unavailable_until_it_may(store: StoreKind) {
    let home = Home::migrated(store);
    let role = home.sql("SELECT current_database()");
    home.sql(&format!("CREATE ROLE {role} SUPERUSER LOGIN"));
    let url = home.url().replace("postgres@", &format!("{role}@"));
    let server = Stockroom::on(home.clone(), |config| {
        config.store.url = url;
        config.locking.strategy = LockingStrategy::Pessimistic;
    })
    .await;
    stock(&server.client, "a", 10).await;
    let sold = server.client.create_order(order("sold", &[("a", 1)])).await;
    let sold = sold.unwrap().order.unwrap().order_id;
    home.sql(&format!("ALTER ROLE {role} NOLOGIN"));
    home.sql(&format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{role}'"
    ));
    server.wait_for_health(ServingStatus::NotServing).await;
    let request = order("locked-out", &[("a", 1)]);
    let hold = CreateOrderRequest {
        hold: Some(hold_of(60)),
        ..order("hold", &[("a", 1)])
    };
    let read = GetOrderRequest {
        key: Some(Key::OrderId(sold)),
        with_movements: true,
        ..GetOrderRequest::default()
    };
    for refused in [
        refusal(server.orders().create_order(request.clone()).await),
        refusal(server.orders().create_order(hold).await),
        refusal(server.orders().get_order(read).await),
    ] {
        refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    }
    home.sql(&format!("ALTER ROLE {role} LOGIN"));
    server.wait_for_health(ServingStatus::Serving).await;
    let made = server.client.retrying().create_order(&request).await;
    assert!(!made.unwrap().replayed);
}

async fn an_order_after_a_pause_finds_a_connection_in_the_smallest_pool(store: StoreKind) {
    let server = Stockroom::with(store, |c| c.store.pool_max = 1).await;
    stock(&server.client, "a", 10).await;
    let rests = "SELECT bool_and(state_change < now() - interval '1.5 s') FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE '%commit_%' AND pid <> pg_backend_pid()";
    for i in 0..2 {
        let request = order(&format!("o-{i}"), &[("a", 1)]);
        server.client.create_order(request).await.unwrap();
        eventually("the connection has idled", async || {
            server.home.sql(rests) == "t"
        })
        .await;
    }
}

/// Each request of a new connection in turn is the last that is heard of it.
async fn a_database_that_falls_silent_while_it_is_connected_to_is_found_again(store: StoreKind) {
    let (server, proxy) = behind_proxy(Home::new(store), |config| {
        config.store.acquire_timeout_ms = 300;
        config.store.statement_timeout_ms = 700;
    })
    .await;
    for requests in 0..6 {
        proxy.cut();
        let mut strike = proxy.arm(requests, Place::Before, Action::Swallow);
        strike.struck().await;
        server.wait_for_health(ServingStatus::NotServing).await;
        proxy.set(Line::Up);
        server.wait_for_health(ServingStatus::Serving).await;
    }
}
