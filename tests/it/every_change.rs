//! WatchStock with EVERY_CHANGE: each version of each level, once and in order.

mod reader;

use futures_util::future::join_all;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{GoodbyeReason, SeenLevel, WatchDelivery, WatchStockRequest};
use tonic::Code;
use tonic::transport::Channel;

use self::reader::Reader;
use crate::api::{counted, level, order, put, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::process::Server;
use crate::watching::{everything, level_of, seen, watch_of};

on_each_store! {
    every_version_arrives_once_and_in_order_while_64_callers_order,
    a_level_seen_at_zero_begins_with_its_first_change,
    an_unseen_level_begins_with_its_present_value,
    a_reader_resumes_after_a_kill_without_gap_or_repeat,
    a_slow_reader_gets_everything,
    long_histories_come_in_many_messages,
    a_version_above_the_stores_is_reset_and_goes_on_from_there,
    what_was_seen_of_another_store_begins_anew,
    sets_of_levels_are_refused,
    a_stream_of_every_change_has_heartbeats_and_a_goodbye,
    a_changed_threshold_is_a_change,
}

mod two_instances {
    use super::*;

    on_postgres! {
        commits_of_another_instance_arrive_too,
        a_hole_in_the_ledger_ends_the_stream,
    }

    async fn commits_of_another_instance_arrive_too(store: StoreKind) {
        let here = Stockroom::with(store, |config| {
            // The longest there is, and longer than a reader waits: only hints can be in time.
            config.watch.reread_interval_ms = 60_000;
        })
        .await;
        let there = Stockroom::on(here.home.clone(), |_| {}).await;
        stock(&here.client, "a", 1_000).await;
        let mut reader = Reader::open(&here.channel, every(&[("a", 0)])).await;
        for n in 0..50 {
            let server = if n % 2 == 0 { &here } else { &there };
            let sold = order(&format!("n-{n}"), &[("a", 1)]);
            server.client.create_order(sold).await.unwrap();
        }
        reader.until("a", 51).await;
        assert_eq!(reader.history("a"), (1..=51).collect::<Vec<i64>>());
    }

    async fn a_hole_in_the_ledger_ends_the_stream(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        stock(&server.client, "broken", 10).await;
        for n in 0..3 {
            let request = counted(&format!("n-{n}"), "broken", n);
            server.client.adjust_stock(request).await.unwrap();
        }
        let home = &server.home;
        home.sql(
            "CREATE TABLE hole AS SELECT * FROM movement WHERE sku = 'broken' AND version = 2",
        );
        home.sql("DELETE FROM movement WHERE sku = 'broken' AND version = 2");
        let watch = every(&[("a", 0), ("broken", 0)]);
        let mut reader = Reader::open(&server.channel, watch).await;
        let goodbye = reader.until_goodbye().await;
        assert_eq!(goodbye, GoodbyeReason::StoreUnavailable);
        assert!(!reader.history("broken").contains(&3), "nothing is skipped");
        // The books are checked at the end.
        home.sql("INSERT INTO movement SELECT * FROM hole; DROP TABLE hole");
    }
}

/// A watch of every change of levels at `main` from versions of them.
fn every(levels: &[(&str, i64)]) -> WatchStockRequest {
    let seen = levels.iter().map(|&(sku, version)| seen(sku, version));
    resume(seen.collect())
}

fn resume(seen: Vec<SeenLevel>) -> WatchStockRequest {
    WatchStockRequest {
        seen,
        delivery: WatchDelivery::EveryChange.into(),
        ..WatchStockRequest::default()
    }
}

/// Sells a unit in each of so many orders, from many callers at once.
async fn sell(server: &Stockroom, name: &str, callers: usize, orders: usize, sku: &str) {
    join_all((0..callers).map(|caller| async move {
        for n in (caller..orders).step_by(callers) {
            let sold = order(&format!("{name}-{n}"), &[(sku, 1)]);
            server.client.retrying().create_order(&sold).await.unwrap();
        }
    }))
    .await;
}

async fn every_version_arrives_once_and_in_order_while_64_callers_order(store: StoreKind) {
    const ORDERS: usize = 640;
    let server = Stockroom::start(store).await;
    for sku in ["hot", "warm"] {
        stock(&server.client, sku, 1_000_000).await;
    }
    let channel = &server.channel;
    let mut readers = Vec::new();
    for _ in 0..4 {
        let watch = every(&[("hot", 0), ("warm", 1)]);
        readers.push(Reader::open(channel, watch).await);
    }
    let last = 1 + ORDERS as i64;
    let reading = join_all(readers.iter_mut().map(async |reader| {
        reader.until("hot", last).await;
        reader.until("warm", last).await;
    }));
    let selling = async {
        tokio::join!(
            sell(&server, "hot", 64, ORDERS, "hot"),
            sell(&server, "warm", 8, ORDERS, "warm"),
        )
    };
    tokio::join!(reading, selling);
    for reader in &readers {
        assert!(reader.is_synced);
        assert_eq!(reader.history("hot"), (1..=last).collect::<Vec<i64>>());
        assert_eq!(reader.history("warm"), (2..=last).collect::<Vec<i64>>());
        for (level, sold) in reader.came["hot"].iter().zip(0..) {
            assert_eq!((level.on_hand, level.reserved), (1_000_000 - sold, 0));
            assert!(level.update_time.is_some());
        }
        let truth = level(&server.client, "hot").await;
        assert_eq!(reader.came["hot"].last(), Some(&truth));
    }
}

async fn a_level_seen_at_zero_begins_with_its_first_change(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "later", 0).await;
    stock(&server.client, "a", 10).await;
    sell(&server, "before", 1, 4, "a").await;
    let watch = every(&[("a", 0), ("later", 0), ("unknown", 0)]);
    let mut reader = Reader::open(&server.channel, watch).await;
    reader.sync().await;
    assert_eq!(reader.history("a"), [1, 2, 3, 4, 5]);
    let on_hand: Vec<i64> = reader.came["a"].iter().map(|it| it.on_hand).collect();
    assert_eq!(on_hand, [10, 9, 8, 7, 6]);
    stock(&server.client, "later", 5).await;
    reader.until("later", 1).await;
    assert!(reader.history("unknown").is_empty());
}

async fn an_unseen_level_begins_with_its_present_value(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    sell(&server, "before", 1, 4, "a").await;
    let mut watch = watch_of(vec![level_of("a"), level_of("unknown")]);
    watch.delivery = WatchDelivery::EveryChange.into();
    let mut reader = Reader::open(&server.channel, watch).await;
    reader.sync().await;
    assert_eq!(reader.history("a"), [5]);
    assert_eq!(reader.history("unknown"), [0]);
    sell(&server, "after", 4, 4, "a").await;
    reader.until("a", 9).await;
    assert_eq!(reader.history("a"), [5, 6, 7, 8, 9]);
}

async fn a_reader_resumes_after_a_kill_without_gap_or_repeat(store: StoreKind) {
    const ROUNDS: usize = 4;
    let home = Home::new(store);
    let mut server = Server::start(home.clone()).await;
    stock(&server.client().await, "a", 1_000_000).await;
    let (mut seen, mut came) = (vec![seen("a", 0)], Vec::new());
    for round in 0..ROUNDS {
        let channel = Channel::from_shared(server.url.clone()).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut reader = Reader::open(&channel, resume(seen)).await;
        let client = server.client().await;
        let ordering = join_all((0..8).map(|caller| {
            let client = client.clone();
            async move {
                for n in 0.. {
                    let sold = order(&format!("r{round}-c{caller}-{n}"), &[("a", 1)]);
                    if client.create_order(sold).await.is_err() {
                        return;
                    }
                }
            }
        }));
        let reading = async {
            let enough = reader.last["a"] + 50;
            reader.until("a", enough).await;
            server.kill();
            reader.drain().await;
        };
        tokio::join!(reading, ordering);
        seen = reader.seen();
        came.extend(reader.history("a"));
        server = Server::start(home.clone()).await;
    }
    let last = level(&server.client().await, "a").await.version;
    let channel = Channel::from_shared(server.url.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut reader = Reader::open(&channel, resume(seen)).await;
    reader.sync().await;
    came.extend(reader.history("a"));
    assert_eq!(came, (1..=last).collect::<Vec<i64>>());
}

async fn a_slow_reader_gets_everything(store: StoreKind) {
    const ORDERS: usize = 2_000;
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000_000).await;
    let mut reader = Reader::open(&server.channel, every(&[("a", 0)])).await;
    // It does not read at all while everything happens.
    sell(&server, "n", 64, ORDERS, "a").await;
    let last = 1 + ORDERS as i64;
    reader.until("a", last).await;
    assert_eq!(reader.history("a"), (1..=last).collect::<Vec<i64>>());
}

async fn long_histories_come_in_many_messages(store: StoreKind) {
    const ORDERS: usize = 2_500;
    let server = Stockroom::start(store).await;
    stock(&server.client, "long", 1_000_000).await;
    sell(&server, "n", 64, ORDERS, "long").await;
    let skus: Vec<String> = (0..1_100).map(|i| format!("s{i}")).collect();
    for sku in &skus[1_000..] {
        stock(&server.client, sku, 3).await;
    }
    let mut levels: Vec<(&str, i64)> = skus.iter().map(|sku| (sku.as_str(), 0)).collect();
    levels.push(("long", 0));
    let mut reader = Reader::open(&server.channel, every(&levels)).await;
    reader.sync().await;
    let last = 1 + ORDERS as i64;
    assert_eq!(reader.history("long"), (1..=last).collect::<Vec<i64>>());
    for (i, sku) in skus.iter().enumerate() {
        let history: &[i64] = if i < 1_000 { &[] } else { &[1] };
        assert_eq!(reader.history(sku), history, "{sku}");
    }
    assert!(reader.messages >= 3, "{}", reader.messages);
}

async fn a_version_above_the_stores_is_reset_and_goes_on_from_there(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b"] {
        stock(&server.client, sku, 10).await;
    }
    let watch = every(&[("a", 7), ("b", 1)]);
    let mut reader = Reader::open(&server.channel, watch).await;
    reader.sync().await;
    assert_eq!((reader.resets, reader.history("a")), (1, vec![1]));
    assert!(reader.history("b").is_empty());
    sell(&server, "n", 1, 2, "a").await;
    reader.until("a", 3).await;
    assert_eq!((reader.resets, reader.history("a")), (1, vec![1, 2, 3]));
}

async fn what_was_seen_of_another_store_begins_anew(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    sell(&server, "n", 1, 2, "a").await;
    let mut watch = every(&[("a", 1)]);
    watch.store_id = "00000000-0000-4000-8000-000000000000".to_owned();
    let mut reader = Reader::open(&server.channel, watch).await;
    reader.sync().await;
    assert_eq!((reader.resets, reader.history("a")), (1, vec![3]));
    // The same store's are none of that.
    let mut watch = every(&[("a", 1)]);
    watch.store_id = reader.store_id;
    let mut reader = Reader::open(&server.channel, watch).await;
    reader.sync().await;
    assert_eq!((reader.resets, reader.history("a")), (0, vec![2, 3]));
}

async fn sets_of_levels_are_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let mut watch = watch_of(vec![level_of("a"), everything()]);
    watch.delivery = WatchDelivery::EveryChange.into();
    let refused = refusal(server.inventory().watch_stock(watch).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["selectors[1]"]);
    let mut watch = watch_of(vec![level_of("a")]);
    watch.delivery = 7;
    let refused = refusal(server.inventory().watch_stock(watch).await);
    assert_eq!(refused.fields(), ["delivery"]);
}

async fn a_stream_of_every_change_has_heartbeats_and_a_goodbye(store: StoreKind) {
    let mut server = Stockroom::with(store, |config| config.watch.heartbeat_ms = 100).await;
    stock(&server.client, "a", 10).await;
    let mut reader = Reader::open(&server.channel, every(&[("a", 1)])).await;
    reader.sync().await;
    for _ in 0..3 {
        let event = reader.next().await;
        assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");
    }
    server.begin_shutdown();
    assert_eq!(reader.until_goodbye().await, GoodbyeReason::Draining);
}

async fn a_changed_threshold_is_a_change(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut reader = Reader::open(&server.channel, every(&[("a", 0)])).await;
    reader.sync().await;
    put(&server.client, "a", 10).await;
    reader.until("a", 2).await;
    let low: Vec<bool> = reader.came["a"].iter().map(|it| it.low_stock).collect();
    assert_eq!(low, [false, true]);
}
