//! WatchStock: whoever watches learns the truth in the end, whatever happens.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::GoodbyeReason;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{SeenLevel, WatchStockRequest};
use tonic::Code;

use crate::api::{Refusal, level, order, put, received, stock};
use crate::fixture::{Stockroom, StoreKind, in_time};
use crate::watching::{Watcher, everything, level_of, seen, watch_of};

on_each_store! {
    a_watch_is_started_a_snapshot_synced_and_live,
    an_empty_snapshot_is_synced_too,
    an_unknown_sku_is_watched_at_version_zero_until_it_gets_stock,
    a_watch_of_all_is_told_of_levels_that_are_new,
    a_watch_resumes_from_what_it_has_seen,
    seen_levels_are_watched_too,
    a_version_above_the_stores_is_reset,
    what_was_seen_of_another_store_is_forgotten,
    a_changed_threshold_is_pushed,
    a_snapshot_larger_than_a_message_is_whole,
    a_silent_stream_has_a_heartbeat,
    an_old_stream_is_sent_goodbye,
    a_draining_server_sends_goodbye,
    a_watcher_that_reconnects_at_random_ends_at_the_truth,
}

mod two_instances {
    use super::*;

    on_postgres! { a_change_of_another_instance_arrives_within_seconds }

    async fn a_change_of_another_instance_arrives_within_seconds(store: StoreKind) {
        let here = Stockroom::start(store).await;
        stock(&here.client, "a", 100).await;
        let there = Stockroom::on(here.home.clone(), |_| {}).await;
        let mut by_name = Watcher::synced(&here, watch_of(vec![level_of("a")])).await;
        let mut all = Watcher::synced(&here, watch_of(vec![everything()])).await;
        there
            .client
            .create_order(order("from-there", &[("a", 1)]))
            .await
            .unwrap();
        let committed = Instant::now();
        assert_eq!(by_name.until("a", 2).await.on_hand, 99);
        assert_eq!(all.until("a", 2).await.on_hand, 99);
        // Promised within one second; a busy machine gets a little more.
        assert!(
            committed.elapsed() < Duration::from_secs(3),
            "{:?}",
            committed.elapsed()
        );
    }
}

async fn a_watch_is_started_a_snapshot_synced_and_live(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    stock(&server.client, "b", 20).await;
    let mut watcher = Watcher::open(&server, watch_of(vec![level_of("a"), level_of("a")])).await;
    let heartbeat = watcher.started.heartbeat_interval.unwrap();
    assert_eq!((heartbeat.seconds, heartbeat.nanos), (15, 0));
    assert!(watcher.started.server_time.is_some());
    watcher.sync().await;
    assert_eq!(watcher.versions(), [("a", 1)]);
    assert_eq!(watcher.level("a"), Some(&level(&server.client, "a").await));
    server
        .client
        .create_order(order("other", &[("b", 1)]))
        .await
        .unwrap();
    server
        .client
        .create_order(order("live", &[("a", 4), ("a", 1)]))
        .await
        .unwrap();
    assert_eq!(
        watcher.until("a", 2).await,
        level(&server.client, "a").await
    );
    assert_eq!(watcher.versions(), [("a", 2)], "b was not asked for");
}

async fn an_empty_snapshot_is_synced_too(store: StoreKind) {
    let server = Stockroom::start(store).await;
    Watcher::synced(&server, watch_of(vec![everything()])).await;
    stock(&server.client, "a", 10).await;
    let up_to_date = WatchStockRequest {
        seen: vec![seen("a", 1)],
        ..Default::default()
    };
    let watcher = Watcher::synced(&server, up_to_date).await;
    assert_eq!(watcher.versions(), []);
}

async fn an_unknown_sku_is_watched_at_version_zero_until_it_gets_stock(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("soon")])).await;
    assert_eq!(watcher.versions(), [("soon", 0)]);
    assert_eq!(watcher.level("soon").unwrap().update_time, None);
    stock(&server.client, "soon", 5).await;
    assert_eq!(watcher.until("soon", 1).await.on_hand, 5);
}

async fn a_watch_of_all_is_told_of_levels_that_are_new(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let selectors = vec![everything(), level_of("unknown")];
    let mut watcher = Watcher::synced(&server, watch_of(selectors)).await;
    assert_eq!(watcher.versions(), [("a", 1), ("unknown", 0)]);
    stock(&server.client, "b", 20).await;
    assert_eq!(watcher.until("b", 1).await.on_hand, 20);
}

async fn a_watch_resumes_from_what_it_has_seen(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b", "c"] {
        stock(&server.client, sku, 100).await;
    }
    let watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    let (seen, store_id) = (watcher.seen(), watcher.started.store_id.clone());
    drop(watcher);
    server
        .client
        .create_order(order("meanwhile", &[("b", 1)]))
        .await
        .unwrap();
    let request = WatchStockRequest {
        seen,
        store_id,
        ..watch_of(vec![everything()])
    };
    let watcher = Watcher::synced(&server, request).await;
    assert_eq!((watcher.versions(), watcher.resets), (vec![("b", 2)], 0));
}

async fn seen_levels_are_watched_too(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    stock(&server.client, "b", 100).await;
    let request = WatchStockRequest {
        seen: vec![seen("b", 1)],
        ..watch_of(vec![level_of("a")])
    };
    let mut watcher = Watcher::synced(&server, request).await;
    assert_eq!(watcher.versions(), [("a", 1)]);
    server
        .client
        .create_order(order("live", &[("b", 1)]))
        .await
        .unwrap();
    watcher.until("b", 2).await;
}

async fn a_version_above_the_stores_is_reset(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    stock(&server.client, "b", 100).await;
    let future = vec![seen("a", 7), seen("b", 1), seen("gone", 3)];
    let request = WatchStockRequest {
        seen: future,
        ..Default::default()
    };
    let mut watcher = Watcher::synced(&server, request).await;
    assert_eq!(
        (watcher.versions(), watcher.resets),
        (vec![("a", 1), ("gone", 0)], 2)
    );
    server
        .client
        .create_order(order("live", &[("a", 1)]))
        .await
        .unwrap();
    watcher.until("a", 2).await;
    assert_eq!(watcher.resets, 2, "a reset is said once");
}

async fn what_was_seen_of_another_store_is_forgotten(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    stock(&server.client, "b", 100).await;
    let request = WatchStockRequest {
        seen: vec![seen("a", 1)],
        store_id: uuid::Uuid::from_u128(7).to_string(),
        ..watch_of(vec![level_of("b")])
    };
    let watcher = Watcher::synced(&server, request).await;
    assert_ne!(
        watcher.started.store_id,
        uuid::Uuid::from_u128(7).to_string()
    );
    assert_eq!(
        (watcher.versions(), watcher.resets),
        (vec![("a", 1), ("b", 1)], 2)
    );
}

async fn a_changed_threshold_is_pushed(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 5).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("a")])).await;
    put(&server.client, "a", 5).await;
    let low = watcher.until("a", 2).await;
    assert_eq!((low.on_hand, low.low_stock), (5, true));
    server
        .client
        .adjust_stock(received("more", "a", 1))
        .await
        .unwrap();
    assert!(!watcher.until("a", 3).await.low_stock);
}

async fn a_snapshot_larger_than_a_message_is_whole(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let skus: Vec<String> = (0..2_100).map(|i| format!("sku-{i:04}")).collect();
    for skus in skus.chunks(700) {
        let products = skus.iter().map(|sku| crate::api::product(sku, 0)).collect();
        let request = stockroom::client::proto::PutProductsRequest {
            products,
            ..Default::default()
        };
        server.client.put_products(request).await.unwrap();
        let all = skus.iter().map(|sku| received(&format!("o-{sku}"), sku, 1));
        let answers = join_all(all.map(|request| server.client.adjust_stock(request))).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    let all = Watcher::synced(&server, watch_of(vec![everything()])).await;
    assert_eq!(all.latest.len(), 2_100);
    let named = watch_of(skus.iter().map(|sku| level_of(sku)).collect());
    let named = Watcher::synced(&server, named).await;
    assert_eq!(named.latest.len(), 2_100);
}

async fn a_silent_stream_has_a_heartbeat(store: StoreKind) {
    /// They take a second; without the setting the first would take longer than all of them may.
    const HEARTBEATS: usize = 10;
    const TIME: Duration = Duration::from_secs(14);
    let server = Stockroom::with(store, |config| config.watch.heartbeat_ms = 100).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    let beating = async {
        for _ in 0..HEARTBEATS {
            let event = watcher.next().await;
            let Event::Heartbeat(heartbeat) = event else {
                panic!("{event:?} is no heartbeat")
            };
            assert!(heartbeat.server_time.is_some());
        }
    };
    let beating = tokio::time::timeout(TIME, beating).await;
    beating.expect("heartbeats come as often as they are set to");
}

async fn an_old_stream_is_sent_goodbye(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.watch.age_max_ms = 300).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    let (reason, status) = watcher.until_goodbye().await;
    assert_eq!(
        (reason, status.code()),
        (GoodbyeReason::Age, Code::Unavailable)
    );
    Watcher::synced(&server, watch_of(vec![everything()])).await;
}

async fn a_draining_server_sends_goodbye(store: StoreKind) {
    let mut server = Stockroom::start(store).await;
    stock(&server.client, "a", 5).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    server.begin_shutdown();
    let (reason, status) = watcher.until_goodbye().await;
    assert_eq!(reason, GoodbyeReason::Draining);
    let refused = Refusal::of(&status);
    assert!(
        !refused
            .is(Code::Unavailable, "DRAINING")
            .retry_delay()
            .is_zero()
    );
    let before = Instant::now();
    server.end().unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "the drain waits for nobody any more"
    );
}

async fn a_watcher_that_reconnects_at_random_ends_at_the_truth(store: StoreKind) {
    const ORDERS: usize = 300;
    const SKUS: [&str; 3] = ["a", "b", "c"];
    let server = Stockroom::start(store).await;
    for sku in SKUS {
        stock(&server.client, sku, 1_000).await;
    }
    let selling = async {
        for i in 0..ORDERS {
            let request = order(
                &format!("o-{i}"),
                &[(SKUS[i % 3], 1), (SKUS[(i + 1) % 3], 1)],
            );
            server.client.create_order(request).await.unwrap();
        }
    };
    // Each watcher gives every stream up after another number of messages.
    let watchers = (0..4).map(|i| reconnect_until(&server, SKUS, 1 + 2 * ORDERS as i64 / 3, i));
    let watching = in_time("all watchers end at the truth", join_all(watchers));
    let (streams, ()) = tokio::join!(watching, selling);
    assert!(streams.iter().all(|streams| *streams > 3), "{streams:?}");
    for sku in SKUS {
        assert_eq!(level(&server.client, sku).await.version, 201);
    }
}

/// Watches until every SKU is at `version`, through streams that it drops after
/// a few messages, and returns how many there were. Versions must rise over all
/// of them, and the last ones be the truth.
async fn reconnect_until(server: &Stockroom, skus: [&str; 3], version: i64, salt: usize) -> usize {
    let mut known: Vec<SeenLevel> = Vec::new();
    for stream in 1.. {
        let request = WatchStockRequest {
            seen: known.clone(),
            ..watch_of(vec![everything()])
        };
        let mut watcher = Watcher::open(server, request).await;
        if known.len() == skus.len() && known.iter().all(|seen| seen.version == version) {
            watcher.sync().await;
            assert!(
                watcher.latest.is_empty(),
                "there is no news after the last version"
            );
            return stream;
        }
        let messages = 1 + (stream * 7 + salt * 3) % 12;
        let read = async {
            for _ in 0..messages {
                watcher.next().await;
            }
        };
        // After the last change there may be nothing left to come.
        let _ = tokio::time::timeout(Duration::from_millis(200), read).await;
        for (key, level) in &watcher.latest {
            match known
                .iter_mut()
                .find(|seen| (&seen.sku, &seen.location) == (&key.0, &key.1))
            {
                Some(seen) => {
                    assert!(
                        level.version > seen.version,
                        "{level:?} came after {seen:?}"
                    );
                    seen.version = level.version;
                }
                None => known.push(SeenLevel {
                    sku: key.0.clone(),
                    location: key.1.clone(),
                    version: level.version,
                }),
            }
        }
    }
    unreachable!("the loop has no end of its own")
}
