//! Watchers are many, slow, or dead: nobody else notices, and there is an end to
//! what they cost.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{
    GoodbyeReason, PutProductsRequest, WatchStockRequest, WatchStockResponse,
};
use stockroom::client::{Client, ClientError, WatchEvent, WatchTargets};
use stockroom::config::Config;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::api::{batch_of, order, product, received, refusal, stock};
use crate::fixture::{DEADLINE, Stockroom, StoreKind, eventually};
use crate::proxy::{Line, Proxy};
use crate::scrape::get;
use crate::watching::{Watcher, everything, level_of, seen, watch_of};

on_each_store! {
    each_bound_of_watches_is_refused_at_the_start_with_its_quota,
    a_reader_that_stops_reading_delays_nobody_and_catches_up,
    many_watchers_of_one_level_are_told_at_a_pace_and_get_the_last_value,
    streams_that_begin_together_wait_their_turn_and_none_is_sent_away,
    a_slow_reader_is_sent_goodbye_within_its_snapshot_when_the_server_drains,
    a_watch_that_has_seen_more_bytes_than_the_server_takes_resumes_all_the_same,
    a_watch_that_has_seen_more_levels_than_the_server_takes_resumes_all_the_same,
}

/// What dies is no affair of the store.
mod dead {
    use super::*;

    #[test]
    fn a_dead_reader_is_gone_within_keepalive_interval_and_timeout() {
        crate::fixture::run_on(StoreKind::Sqlite, a_dead_reader_is_gone);
    }
}

/// A connection of its own, whose streams have room for `window_bytes`.
pub(crate) async fn connection(
    address: &str,
    window_bytes: u32,
) -> InventoryServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let endpoint = endpoint.initial_stream_window_size(window_bytes);
    InventoryServiceClient::new(endpoint.connect().await.unwrap())
}

pub(crate) async fn open(
    client: &InventoryServiceClient<Channel>,
    request: WatchStockRequest,
) -> Result<Streaming<WatchStockResponse>, Status> {
    let answer = client.clone().watch_stock(request).await;
    Ok(answer?.into_inner())
}

async fn sell(server: &Stockroom, sku: &str, orders: usize) {
    for _ in 0..orders {
        let request = order(&uuid::Uuid::now_v7().to_string(), &[(sku, 1)]);
        server.client.create_order(request).await.unwrap();
    }
}

/// A SKU as long as they may be.
fn long_sku(number: usize) -> String {
    format!("{number:064}")
}

/// Makes so many levels with long SKUs, each at version 1.
async fn fill(server: &Stockroom, levels: usize) {
    /// As many as one request may adjust.
    const AT_ONCE: usize = 500;
    let skus: Vec<String> = (0..levels).map(long_sku).collect();
    for (part, skus) in skus.chunks(AT_ONCE).enumerate() {
        let request = PutProductsRequest {
            products: skus.iter().map(|sku| product(sku, 0)).collect(),
            ..Default::default()
        };
        server.client.put_products(request).await.unwrap();
        let units = skus.iter().map(|sku| received("", sku, 1_000));
        let request = batch_of(&format!("opening-{part}"), units);
        server.client.batch_adjust_stock(request).await.unwrap();
    }
}

async fn each_bound_of_watches_is_refused_at_the_start_with_its_quota(store: StoreKind) {
    let server = Stockroom::with(store, |config| {
        config.watch.targets_max = 2;
        config.watch.streams_per_connection_max = 2;
        config.watch.streams_max = 3;
    })
    .await;
    let address = server.addr.to_string();
    let refused = |answer: Result<Streaming<_>, Status>, subject: &str, most: &str| {
        let refused = refusal(answer.map(drop));
        refused.is(Code::ResourceExhausted, "TOO_MANY_WATCHES");
        let quota = &refused.details.quota_failure().unwrap().violations[0];
        assert_eq!((&*quota.subject, &*quota.description), (subject, most));
        // No wait makes a request smaller.
        let can_pass = subject != "levels of a watch stream";
        assert_eq!(refused.details.retry_info().is_some(), can_pass);
    };
    let first = connection(&address, 65_535).await;
    let three = WatchStockRequest {
        seen: vec![seen("b", 0), seen("c", 0)],
        ..watch_of(vec![level_of("a"), level_of("b")])
    };
    let answer = open(&first, three).await;
    refused(answer, "levels of a watch stream", "at most 2 levels");
    let two = watch_of(vec![level_of("a"), level_of("b"), everything()]);
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(open(&first, two.clone()).await.unwrap());
    }
    let answer = open(&first, two.clone()).await;
    refused(answer, "watch streams of a connection", "at most 2 streams");
    let second = connection(&address, 65_535).await;
    let third = open(&second, two.clone()).await.unwrap();
    let answer = open(&second, two.clone()).await;
    refused(answer, "watch streams of this server", "at most 3 streams");
    // Whoever has a stream keeps it, and its place is free when it ends.
    for stream in &mut streams {
        assert!(stream.message().await.unwrap().is_some());
    }
    drop(third);
    eventually("there is room in the server", async || {
        open(&second, two.clone()).await.is_ok()
    })
    .await;
    drop(streams);
    eventually("there is room on the connection", async || {
        open(&first, two.clone()).await.is_ok()
    })
    .await;
}

async fn a_reader_that_stops_reading_delays_nobody_and_catches_up(store: StoreKind) {
    const ORDERS: i64 = 600;
    /// Room for some messages of a level, and for far fewer than there will be.
    const WINDOW_BYTES: u32 = 8_192;
    let server = Stockroom::start(store).await;
    stock(&server.client, "hot", 1_000_000).await;
    let slow = connection(&server.addr.to_string(), WINDOW_BYTES).await;
    let mut stuck = open(&slow, watch_of(vec![level_of("hot")])).await.unwrap();
    let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("hot")])).await;
    // Each change arrives while the other stream is stuck.
    for version in 2..ORDERS {
        sell(&server, "hot", 1).await;
        watcher.until("hot", version).await;
    }
    // As far as it had room, it has old values; then comes the last one.
    let mut versions = Vec::new();
    while versions.last() != Some(&(ORDERS - 1)) {
        let message = tokio::time::timeout(DEADLINE, stuck.message()).await;
        let message = message.expect("the last value comes").unwrap().unwrap();
        if let Some(Event::Changes(changes)) = message.event {
            versions.extend(changes.levels.iter().map(|level| level.version));
        }
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let room = 2 * WINDOW_BYTES as usize / 40;
    assert!(
        versions.len() < room,
        "{} messages were kept",
        versions.len()
    );
    assert!(server.counters.watches.coalesced.get() > 0);
}

async fn many_watchers_of_one_level_are_told_at_a_pace_and_get_the_last_value(store: StoreKind) {
    const WATCHERS: usize = 200;
    const ORDERS: usize = 150;
    // A delivery counts 8 µs, so that one in 100 has 800 µs: after the first 625,
    // which are on credit, 1,250 a second.
    let server = Stockroom::with(store, |config| config.watch.cpu_share_percent = 1).await;
    stock(&server.client, "hot", 1_000_000).await;
    let watches = (0..WATCHERS).map(|_| Watcher::synced(&server, watch_of(vec![level_of("hot")])));
    let mut watchers = join_all(watches).await;
    let delivered = || server.counters.watches.deliveries.get();
    let (before, begin) = (delivered(), Instant::now());
    sell(&server, "hot", ORDERS).await;
    let last = 1 + ORDERS as i64;
    join_all(watchers.iter_mut().map(|it| it.until("hot", last))).await;
    let allowed = 625.0 + begin.elapsed().as_secs_f64() / 800e-6;
    let delivered = delivered() - before;
    assert!(
        (delivered as f64) < allowed + 257.0,
        "{delivered} deliveries, {allowed} allowed"
    );
    let lag = crate::scrape::Scrape::of(server.http).await;
    assert!(lag.value("stockroom_watch_delivery_lag_seconds_count") > 0.0);
}

async fn a_dead_reader_is_gone(store: StoreKind) {
    let (interval, timeout) = (Duration::from_millis(400), Duration::from_millis(300));
    let server = Stockroom::with(store, |config| {
        config.server.keepalive_interval_ms = interval.as_millis() as u64;
        config.server.keepalive_timeout_ms = timeout.as_millis() as u64;
    })
    .await;
    let proxy = Proxy::before(server.addr).await;
    let client = connection(&proxy.addr.to_string(), 65_535).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(open(&client, watch_of(vec![everything()])).await.unwrap());
    }
    let open = || server.counters.watches.streams.get();
    assert_eq!(open(), 3);
    // Bytes are swallowed from now on: a cable that was pulled.
    proxy.set(Line::Silent);
    let silent = Instant::now();
    eventually("its streams are gone", async || open() == 0).await;
    // The machine that this runs on may be slow to notice.
    let late = silent.elapsed().saturating_sub(interval + timeout);
    assert!(late < Duration::from_secs(2), "{late:?} too late");
}

/// Far more snapshots at once than there are connections, none of which may be waited
/// for longer than one of them takes.
async fn streams_that_begin_together_wait_their_turn_and_none_is_sent_away(store: StoreKind) {
    /// As many as one connection may have, nearly, each with a page to read.
    const STREAMS: usize = 900;
    const LEVELS: usize = 150;
    let server = Stockroom::with(store, |config| {
        config.store.pool_max = 2;
        // Longer than a connection takes to open on a busy machine, far shorter than all
        // snapshots take.
        config.store.acquire_timeout_ms = 1_000;
    })
    .await;
    fill(&server, LEVELS).await;
    let begun = (0..STREAMS).map(|_| Watcher::synced(&server, watch_of(vec![everything()])));
    let watchers = join_all(begun).await;
    assert!(watchers.iter().all(|it| it.latest.len() == LEVELS));
}

/// The next message for a reader that takes its time.
async fn next_slowly(server: &Stockroom, stream: &mut Streaming<WatchStockResponse>) -> Event {
    let message = tokio::time::timeout(DEADLINE, stream.message()).await;
    let message = message.expect("a message comes").unwrap();
    // All rows take longer than the page of them that the server reads meanwhile.
    server.home.books();
    message.unwrap().event.unwrap()
}

/// Whose pages are always ready, so that nothing ever waits for the store.
async fn a_slow_reader_is_sent_goodbye_within_its_snapshot_when_the_server_drains(
    store: StoreKind,
) {
    /// Eight pages of about 100 KB.
    const LEVELS: usize = 8_000;
    /// Far less than a page, so that no more than two of them are on their way.
    const WINDOW_BYTES: u32 = 8_192;
    // The stream shall not end with the time to drain.
    let configure = |config: &mut Config| config.server.drain_timeout_ms = 120_000;
    let mut server = Stockroom::with(store, configure).await;
    fill(&server, LEVELS).await;
    let slow = connection(&server.addr.to_string(), WINDOW_BYTES).await;
    let mut stream = open(&slow, watch_of(vec![everything()])).await.unwrap();
    let mut levels = 0;
    while levels == 0 {
        if let Event::Changes(changes) = next_slowly(&server, &mut stream).await {
            levels = changes.levels.len();
        }
    }
    server.begin_shutdown();
    eventually("the server drains", async || {
        get(server.http, "/readyz").await.status == 503
    })
    .await;
    let reason = loop {
        match next_slowly(&server, &mut stream).await {
            Event::Changes(changes) => levels += changes.levels.len(),
            Event::Goodbye(goodbye) => break goodbye.reason(),
            other => panic!("{other:?} came after {levels} levels"),
        }
    };
    assert_eq!(reason, GoodbyeReason::Draining);
    assert!(levels < LEVELS, "the whole snapshot was sent");
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

async fn a_watch_that_has_seen_more_bytes_than_the_server_takes_resumes_all_the_same(
    store: StoreKind,
) {
    let configure = |config: &mut Config| config.server.message_bytes_max = 65_536;
    resumes_when_refused(store, configure, |error| error.code == Code::OutOfRange).await;
}

async fn a_watch_that_has_seen_more_levels_than_the_server_takes_resumes_all_the_same(
    store: StoreKind,
) {
    let configure = |config: &mut Config| config.watch.targets_max = LEVELS - 1;
    resumes_when_refused(store, configure, |error| error.reason == "TOO_MANY_WATCHES").await;
}

/// Levels that a watch has seen; named in full they take 76 bytes each.
const LEVELS: usize = 1_000;

/// Where naming all `LEVELS` is refused so.
async fn resumes_when_refused(
    store: StoreKind,
    configure: impl FnOnce(&mut Config),
    is_refusal: impl Fn(&ClientError) -> bool,
) {
    let server = Stockroom::with(store, configure).await;
    fill(&server, LEVELS).await;
    let proxy = Proxy::before(server.addr).await;
    let address = proxy.addr.to_string();
    let client = Client::connect(&address, 1).await.unwrap();
    let mut watch = client.watch(WatchTargets::all());
    for _ in 0..LEVELS {
        watch.next_level().await.unwrap();
    }
    proxy.cut();
    let resuming = async {
        let mut refusals = 0;
        loop {
            match watch.next().await.unwrap() {
                WatchEvent::Interrupted { error, .. } if is_refusal(&error) => refusals += 1,
                WatchEvent::Synced if refusals > 0 => break refusals,
                WatchEvent::Changes { levels, .. } => panic!("{levels:?} are no news"),
                _ => {}
            }
        }
    };
    let refusals = tokio::time::timeout(DEADLINE, resuming).await;
    let refusals: u32 = refusals.expect("the watch goes on");
    assert_eq!((refusals, watch.repeats()), (1, 0));
    sell(&server, &long_sku(7), 1).await;
    let level = watch.next_level().await.unwrap();
    assert_eq!((level.sku, level.version), (long_sku(7), 2));
}
