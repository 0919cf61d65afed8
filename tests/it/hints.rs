//! Hints between instances: they bring changes at once, and whatever becomes of them,
//! no watcher is ever wrong.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::{PutProductsRequest, StockLevel};
use stockroom::config::Config;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::api::{level, order, product, received, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually};
use crate::servers::postgres::Server;
use crate::watching::{Watcher, everything, level_of, watch_of};

on_postgres! {
    a_change_of_another_instance_is_hinted_at,
    more_changes_than_a_hint_can_name_arrive_too,
    what_was_said_while_nobody_heard_is_read_again,
    false_and_old_and_repeated_hints_make_nobody_wrong,
    hints_are_paced_however_many_commits_there_are,
    a_database_that_restarts_is_listened_to_again,
}

mod one_process {
    use super::*;

    on_each_store! { a_process_does_not_hear_itself }

    async fn a_process_does_not_hear_itself(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("a")])).await;
        let sold = order("first", &[("a", 1)]);
        server.client.create_order(sold).await.unwrap();
        watcher.until("a", 2).await;
        let hints = &server.counters.hints;
        if store == StoreKind::Postgres {
            eventually("the change is hinted at", async || hints.sent.get() > 0).await;
        } else {
            assert_eq!(hints.sent.get(), 0, "SQLite has one process");
        }
        assert_eq!((hints.received.get(), hints.reconnects.get()), (0, 0));
    }
}

/// The longest that `watch.reread_interval_ms` may be, and longer than any of these tests
/// waits for a change ([`DEADLINE`]): what arrives has come through a hint.
const REREAD_INTERVAL_MS: u64 = 60_000;

/// Two instances on one new store, which only hints connect.
async fn two_instances(store: StoreKind) -> [Stockroom; 2] {
    let rarely = |config: &mut Config| config.watch.reread_interval_ms = REREAD_INTERVAL_MS;
    let here = Stockroom::with(store, rarely).await;
    let there = Stockroom::on(here.home.clone(), rarely).await;
    for server in [&here, &there] {
        wait_until_it_listens(server).await;
    }
    [here, there]
}

/// Connections that listen; connected ones have said nothing yet.
const LISTENERS: &str = "FROM pg_stat_activity \
    WHERE datname = current_database() AND application_name = 'stockroom listener' \
    AND state = 'idle' AND query <> ''";

/// Waits until both listen; that they began to is not enough.
async fn wait_until_it_listens(server: &Stockroom) {
    eventually("both instances listen", async || {
        server.home.sql(&format!("SELECT count(*) {LISTENERS}")) == "2"
    })
    .await;
}

async fn sell(server: &Stockroom, request_id: &str, sku: &str) {
    let order = order(request_id, &[(sku, 1)]);
    server.client.create_order(order).await.unwrap();
}

async fn a_change_of_another_instance_is_hinted_at(store: StoreKind) {
    let [here, there] = two_instances(store).await;
    stock(&here.client, "a", 100).await;
    let mut by_name = Watcher::synced(&here, watch_of(vec![level_of("a")])).await;
    let mut all = Watcher::synced(&here, watch_of(vec![everything()])).await;
    let began = Instant::now();
    for n in 2..=20 {
        sell(&there, &format!("there-{n}"), "a").await;
        assert_eq!(by_name.until("a", n).await.on_hand, 101 - n);
        assert_eq!(all.until("a", n).await.on_hand, 101 - n);
    }
    stock(&there.client, "new", 5).await;
    assert_eq!(all.until("new", 1).await.on_hand, 5);
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert!(here.counters.hints.received.get() > 0);
    assert!(there.counters.hints.sent.get() > 0);
}

async fn more_changes_than_a_hint_can_name_arrive_too(store: StoreKind) {
    let [here, there] = two_instances(store).await;
    let skus: Vec<String> = (0..200).map(|i| format!("{i:064}")).collect();
    let products = skus.iter().map(|sku| product(sku, 0)).collect();
    let products = PutProductsRequest {
        products,
        ..Default::default()
    };
    there.client.put_products(products).await.unwrap();
    join_all(skus.iter().map(|sku| async {
        let request = received(sku, sku, 10);
        there.client.adjust_stock(request).await.unwrap();
    }))
    .await;
    let levels = skus.iter().map(|sku| level_of(sku)).collect();
    let mut watcher = Watcher::synced(&here, watch_of(levels)).await;
    let lines: Vec<(&str, i64)> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
    let basket = order("all-of-them", &lines);
    there.client.create_order(basket).await.unwrap();
    for sku in &skus {
        assert_eq!(watcher.until(sku, 2).await.on_hand, 9);
    }
}

async fn what_was_said_while_nobody_heard_is_read_again(store: StoreKind) {
    let [here, there] = two_instances(store).await;
    stock(&here.client, "a", 100).await;
    let mut watcher = Watcher::synced(&here, watch_of(vec![level_of("a")])).await;
    for round in 1..=3 {
        let reconnects = here.counters.hints.reconnects.get();
        here.home
            .sql(&format!("SELECT pg_terminate_backend(pid) {LISTENERS}"));
        for n in 0..5 {
            sell(&there, &format!("lost-{round}-{n}"), "a").await;
        }
        watcher.until("a", 1 + 5 * round).await;
        eventually("it listens anew", async || {
            here.counters.hints.reconnects.get() > reconnects
        })
        .await;
        wait_until_it_listens(&here).await;
    }
    // And hears again.
    let received = here.counters.hints.received.get();
    sell(&there, "after", "a").await;
    watcher.until("a", 17).await;
    assert!(here.counters.hints.received.get() > received);
}

async fn false_and_old_and_repeated_hints_make_nobody_wrong(store: StoreKind) {
    const UNITS: i64 = 1_000;
    let [here, there] = two_instances(store).await;
    for sku in ["a", "b"] {
        stock(&here.client, sku, UNITS).await;
    }
    let levels = vec![level_of("a"), level_of("b"), level_of("unknown")];
    let mut watchers = vec![
        Watcher::synced(&here, watch_of(levels)).await,
        Watcher::synced(&here, watch_of(vec![everything()])).await,
    ];
    let said = |payload: &str| format!("SELECT pg_notify('stockroom_hints', '{payload}');");
    let lies: String = [
        "0000000000000001 a:1 b:0",
        "0000000000000001 a:999999999 b:999999999",
        "0000000000000001 unknown:7 never-heard-of:3 a@nowhere:12",
        "0000000000000001 *",
        "*",
        "",
        "nonsense; DROP TABLE stock_level",
        "0000000000000001 a:3 a:2 a:1",
    ]
    .map(said)
    .concat();
    for n in 2..=20 {
        sell(&there, &format!("a-{n}"), "a").await;
        here.home.sql(&lies);
        sell(&here, &format!("b-{n}"), "b").await;
        here.home.sql(&lies);
        for watcher in &mut watchers {
            for sku in ["a", "b"] {
                let level = watcher.until(sku, n).await;
                assert_eq!((level.version, level.on_hand), (n, UNITS + 1 - n));
            }
        }
    }
    for sku in ["a", "b"] {
        let truth: StockLevel = level(&here.client, sku).await;
        for watcher in &watchers {
            assert_eq!(watcher.level(sku), Some(&truth));
        }
    }
    // Lies about what has not changed bring nothing: a heartbeat is all that comes.
    let versions = watchers[0].versions();
    assert_eq!(versions, [("a", 20), ("b", 20), ("unknown", 0)]);
    let quiet = tokio::time::timeout(Duration::from_millis(200), watchers[0].next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

async fn hints_are_paced_however_many_commits_there_are(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.engine.batch_orders_max = 1).await;
    let skus: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
    for sku in &skus {
        stock(&server.client, sku, 1_000).await;
    }
    let sent = &server.counters.hints.sent;
    eventually("nothing is left to say", async || sent.get() > 0).await;
    let (began, before) = (Instant::now(), sent.get());
    let server = &server;
    join_all(skus.iter().map(|sku| async move {
        for n in 0..100 {
            sell(server, &format!("{sku}-{n}"), sku).await;
        }
    }))
    .await;
    // The first has nothing to wait for, and one may be on its way.
    let most = began.elapsed().as_millis() / 5 + 2;
    let hints = u128::from(sent.get() - before);
    assert!(0 < hints && hints <= most, "{hints} of {most}");
}

async fn a_database_that_restarts_is_listened_to_again(_store: StoreKind) {
    let server = Server::start();
    let home = Home::on(&server);
    let rarely = |config: &mut Config| config.watch.reread_interval_ms = REREAD_INTERVAL_MS;
    let here = Stockroom::on(home.clone(), rarely).await;
    let there = Stockroom::on(home.clone(), rarely).await;
    stock(&here.client, "a", 100).await;
    let mut watcher = Watcher::synced(&here, watch_of(vec![level_of("a")])).await;
    sell(&there, "before", "a").await;
    watcher.until("a", 2).await;
    server.stop_at_once();
    server.start_again();
    for server in [&here, &there] {
        server.wait_for_health(ServingStatus::Serving).await;
        wait_until_it_listens(server).await;
    }
    let began = Instant::now();
    let again = there.client.retrying();
    for n in 3..=6 {
        let sold = order(&format!("after-{n}"), &[("a", 1)]);
        again.create_order(&sold).await.unwrap();
        watcher.until("a", n).await;
    }
    let took = began.elapsed();
    let due = Duration::from_millis(REREAD_INTERVAL_MS / 2);
    assert!(took < due, "not hints brought it but the re-read: {took:?}");
}
