//! The client that people use: what it makes safe, and what it gets through.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use stockroom::client::proto::{
    CreateOrderRequest, DeleteProductRequest, GoodbyeReason, StockKey, StockLevel,
};
use stockroom::client::{Client, Watch, WatchEvent, WatchTargets};
use stockroom::config::Config;

use crate::api::{counted, order, put, received, stock};
use crate::fixture::{DEADLINE, Stockroom, StoreKind};
use crate::proxy::{Line, Proxy};
use crate::recorder::ledger;

on_each_store! {
    orders_without_a_request_id_are_made_once_whatever_happens_on_the_way,
    a_caller_is_told_the_request_id_that_was_made_for_it,
    a_call_on_a_connection_that_fell_silent_is_made_on_another_one,
    a_stream_of_levels_goes_on_through_lost_connections_and_a_restart,
    a_watch_notices_silence_and_goes_on_at_once_over_another_connection,
    a_watch_forgets_what_it_saw_of_another_store,
    a_watch_that_is_let_go_and_asked_again_still_opens,
    a_watch_that_grew_old_goes_on_over_another_connection,
    a_watch_that_cannot_name_all_it_saw_learns_what_is_gone,
    a_watch_that_cannot_name_all_it_saw_learns_what_another_store_lacks,
    a_watch_of_what_is_low_that_cannot_name_all_of_it_learns_what_no_longer_is,
}

async fn through(proxy: &Proxy) -> Client {
    let url = format!("http://{}", proxy.addr);
    Client::connect(&url, 1).await.unwrap()
}

fn anonymous(lines: &[(&str, i64)]) -> CreateOrderRequest {
    order("", lines)
}

async fn orders_without_a_request_id_are_made_once_whatever_happens_on_the_way(store: StoreKind) {
    const CALLERS: usize = 8;
    const ORDERS: usize = 25;
    /// Ten cuts in all, each while the other callers wait.
    const ANSWERS_BETWEEN_CUTS: usize = 20;
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10_000).await;
    let proxy = Proxy::before(server.addr).await;
    // Slow enough that a cut meets answers on their way.
    proxy.set(Line::delayed(Duration::from_millis(10)));
    let retrying = through(&proxy).await.retrying();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let calling = join_all((0..CALLERS).map(|_| async {
        for _ in 0..ORDERS {
            let made = retrying.create_order(&anonymous(&[("a", 1)])).await;
            let made = made.unwrap().order.unwrap();
            let request_id = uuid::Uuid::try_parse(&made.request_id).unwrap();
            assert_eq!(request_id.get_version_num(), 7);
            answered.send(()).unwrap();
        }
    }));
    let cutting = async {
        loop {
            for _ in 0..ANSWERS_BETWEEN_CUTS {
                answers.recv().await.unwrap();
            }
            proxy.set(Line::Down);
            proxy.set(Line::delayed(Duration::from_millis(10)));
        }
    };
    tokio::select! {
        _ = calling => {}
        () = cutting => {}
    }
    assert!(retrying.retries() > 0, "nothing met a cut connection");
    assert_eq!(server.home.books().orders, (CALLERS * ORDERS) as i64);
}

async fn a_caller_is_told_the_request_id_that_was_made_for_it(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    let retrying = server.client.retrying();
    let short = retrying.create_order(&anonymous(&[("a", 2)])).await;
    let short = short.unwrap_err();
    assert_eq!(short.reason, "INSUFFICIENT_STOCK");
    let made = short.request_id.unwrap();
    assert!(uuid::Uuid::try_parse(&made).is_ok(), "{made}");
    // Who gives one keeps it.
    let ours = retrying.create_order(&order("ours", &[("a", 2)])).await;
    assert_eq!(ours.unwrap_err().request_id.as_deref(), Some("ours"));
    let adjusted = retrying.adjust_stock(&received("", "a", 5)).await.unwrap();
    let made = adjusted.movement.unwrap().request_id;
    assert!(uuid::Uuid::try_parse(&made).is_ok(), "{made}");
}

async fn a_call_on_a_connection_that_fell_silent_is_made_on_another_one(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    let proxy = Proxy::before(server.addr).await;
    let retrying = through(&proxy).await.retrying();
    let request = anonymous(&[("a", 1)]);
    retrying.create_order(&request).await.unwrap();
    // What is connected is never heard again; what connects now is.
    proxy.set(Line::Silent);
    proxy.set(Line::Up);
    let begun = Instant::now();
    retrying.create_order(&request).await.unwrap();
    // Ten seconds for the attempt; the client's own keepalive would take half a minute.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    assert_eq!(retrying.retries(), 1);
    assert_eq!(server.home.books().orders, 2);
}

/// Reads the stream of levels until this version, and fails if one does not rise.
async fn until(watch: &mut Watch, last: &mut i64, version: i64) {
    let reading = async {
        let mut levels = watch.levels();
        while *last < version {
            let level = levels.next().await.unwrap().unwrap();
            assert!(level.version > *last, "{level:?} came after {last}");
            *last = level.version;
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    assert!(read.is_ok(), "version {version} does not come");
}

async fn sell(server: &Stockroom, version: i64) {
    let request = order(&format!("o-{version}"), &[("a", 1)]);
    server.client.create_order(request).await.unwrap();
}

async fn a_stream_of_levels_goes_on_through_lost_connections_and_a_restart(store: StoreKind) {
    let mut server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    let proxy = Proxy::before(server.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all()).audited();
    let mut last = 0;
    until(&mut watch, &mut last, 1).await;
    for version in 2..=5 {
        proxy.cut();
        sell(&server, version).await;
        until(&mut watch, &mut last, version).await;
    }
    let home = server.home.clone();
    server.end().unwrap();
    let again = Stockroom::on(home, |_| {}).await;
    proxy.lead_to(again.addr);
    sell(&again, 6).await;
    until(&mut watch, &mut last, 6).await;
    let truth = ledger(&again.home).await;
    while !watch.audit().unwrap().caught_up(&truth) {
        watch.next().await.unwrap();
    }
    let (audit, now) = watch.into_audit().unwrap();
    let report = audit.finish(now, &truth);
    assert_eq!((report.violations, report.resets), (0, 0), "{report:#?}");
    assert!(report.streams >= 6 && report.levels >= 6, "{report:#?}");
}

async fn a_watch_notices_silence_and_goes_on_at_once_over_another_connection(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.watch.heartbeat_ms = 500).await;
    stock(&server.client, "a", 100).await;
    let proxy = Proxy::before(server.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all());
    let mut last = 0;
    until(&mut watch, &mut last, 1).await;
    proxy.set(Line::Silent);
    let silent_since = Instant::now();
    loop {
        if let WatchEvent::Interrupted { error, .. } = watch.next().await.unwrap() {
            assert!(error.message.contains("nothing heard"), "{error}");
            break;
        }
    }
    // The cable is back. What was connected stays silent, and the client's own
    // keepalive would not see it yet.
    proxy.set(Line::Up);
    sell(&server, 2).await;
    until(&mut watch, &mut last, 2).await;
    let took = silent_since.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}");
}

async fn a_watch_forgets_what_it_saw_of_another_store(store: StoreKind) {
    let old = Stockroom::start(store).await;
    stock(&old.client, "a", 100).await;
    sell(&old, 2).await;
    let new = Stockroom::start(store).await;
    stock(&new.client, "a", 50).await;
    let proxy = Proxy::before(old.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all());
    let mut last = 0;
    until(&mut watch, &mut last, 2).await;
    proxy.lead_to(new.addr);
    proxy.cut();
    let fallen = loop {
        if let WatchEvent::Changes { levels, reset } = watch.next().await.unwrap() {
            assert!(reset, "what falls is told to");
            break levels[0].clone();
        }
    };
    assert_eq!((fallen.version, fallen.on_hand), (1, 50));
    last = 1;
    sell(&new, 2).await;
    until(&mut watch, &mut last, 2).await;
    assert_eq!(watch.repeats(), 0);
}

async fn a_watch_that_is_let_go_and_asked_again_still_opens(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    let proxy = Proxy::before(server.addr).await;
    let targets = WatchTargets::levels([StockKey {
        sku: "a".to_owned(),
        ..StockKey::default()
    }]);
    let mut watch = through(&proxy).await.watch(targets);
    // Longer than its caller has the patience for, each time.
    proxy.set(Line::delayed(Duration::from_millis(200)));
    let begun = Instant::now();
    let level = loop {
        let patience = Duration::from_millis(20);
        if let Ok(level) = tokio::time::timeout(patience, watch.next_level()).await {
            break level.unwrap();
        }
        assert!(begun.elapsed() < DEADLINE, "the stream never opens");
    };
    assert_eq!(level.version, 1);
}

/// The id of the store that the next stream is on, and what ended the last one.
async fn next_store(watch: &mut Watch) -> (String, Option<GoodbyeReason>) {
    let reading = async {
        let mut goodbye = None;
        loop {
            match watch.next().await.unwrap() {
                WatchEvent::Started { store_id } => break (store_id, goodbye),
                WatchEvent::Goodbye { reason, .. } => goodbye = Some(reason),
                _ => {}
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    read.expect("a stream begins")
}

async fn a_watch_that_grew_old_goes_on_over_another_connection(store: StoreKind) {
    let old = Stockroom::with(store, |config| config.watch.age_max_ms = 1_000).await;
    let new = Stockroom::start(store).await;
    let proxy = Proxy::before(old.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all());
    let (before, _) = next_store(&mut watch).await;
    // The connection stays; another one comes to the other instance.
    proxy.lead_to(new.addr);
    let (after, goodbye) = next_store(&mut watch).await;
    assert_eq!(goodbye, Some(GoodbyeReason::Age));
    assert_ne!(after, before);
}

/// The levels that are told until the watch is synced.
async fn until_synced(watch: &mut Watch) -> Vec<StockLevel> {
    let reading = async {
        let mut told = Vec::new();
        loop {
            match watch.next().await.unwrap() {
                WatchEvent::Changes { levels, .. } => told.extend(levels),
                WatchEvent::Synced => break told,
                _ => {}
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    read.expect("the watch is synced")
}

async fn a_watch_that_cannot_name_all_it_saw_learns_what_is_gone(store: StoreKind) {
    /// More than one stream can name.
    const GONE: [&str; 3] = ["gone-1", "gone-2", "gone-3"];
    let configure = |config: &mut Config| config.watch.targets_max = 2;
    let server = Stockroom::with(store, configure).await;
    for sku in [&["a", "b"][..], &GONE].concat() {
        stock(&server.client, sku, 10).await;
    }
    let proxy = Proxy::before(server.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all()).audited();
    assert_eq!(until_synced(&mut watch).await.len(), 5);
    proxy.set(Line::Down);
    for sku in GONE {
        let none = counted(sku, sku, 0);
        server.client.adjust_stock(none).await.unwrap();
        let deletion = DeleteProductRequest {
            sku: sku.to_owned(),
            ..DeleteProductRequest::default()
        };
        server.client.delete_product(deletion).await.unwrap();
    }
    sell(&server, 2).await;
    proxy.set(Line::Up);
    // To name five levels is refused, so the next stream begins with none.
    let told = until_synced(&mut watch).await;
    let told = told
        .iter()
        .map(|level| (&*level.sku, level.version, level.on_hand));
    let mut expected = BTreeSet::from(GONE.map(|sku| (sku, 3, 0)));
    expected.insert(("a", 2, 9));
    assert_eq!(told.collect::<BTreeSet<_>>(), expected);
    assert_eq!(watch.repeats(), 0);
    let truth = ledger(&server.home).await;
    assert!(watch.audit().unwrap().caught_up(&truth));
    let (audit, now) = watch.into_audit().unwrap();
    let report = audit.finish(now, &truth);
    assert_eq!((report.violations, report.refused), (0, 1), "{report:#?}");
}

async fn a_watch_that_cannot_name_all_it_saw_learns_what_another_store_lacks(store: StoreKind) {
    /// More than one stream can name.
    const GONE: [&str; 4] = ["gone-1", "gone-2", "gone-3", "gone-4"];
    let configure = |config: &mut Config| config.watch.targets_max = 2;
    let old = Stockroom::with(store, configure).await;
    for sku in [&["a"][..], &GONE].concat() {
        stock(&old.client, sku, 10).await;
    }
    let new = Stockroom::with(store, configure).await;
    stock(&new.client, "a", 50).await;
    let proxy = Proxy::before(old.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::all()).audited();
    assert_eq!(until_synced(&mut watch).await.len(), 5);
    proxy.lead_to(new.addr);
    proxy.cut();
    // To name five levels is refused, so the next stream begins with none.
    let told = until_synced(&mut watch).await;
    let told = told
        .iter()
        .map(|level| (&*level.sku, level.version, level.on_hand));
    let mut expected = BTreeSet::from(GONE.map(|sku| (sku, 0, 0)));
    expected.insert(("a", 1, 50));
    assert_eq!(told.collect::<BTreeSet<_>>(), expected);
    assert_eq!(watch.repeats(), 0);
    // And goes on from there.
    stock(&new.client, GONE[0], 3).await;
    let next = tokio::time::timeout(DEADLINE, watch.next_level()).await;
    let next = next.expect("what is made anew is told").unwrap();
    assert_eq!((&*next.sku, next.version, next.on_hand), (GONE[0], 1, 3));
    let truth = ledger(&new.home).await;
    assert!(watch.audit().unwrap().caught_up(&truth));
    let (audit, now) = watch.into_audit().unwrap();
    let report = audit.finish(now, &truth);
    assert_eq!((report.violations, report.refused), (0, 1), "{report:#?}");
}

async fn a_watch_of_what_is_low_that_cannot_name_all_of_it_learns_what_no_longer_is(
    store: StoreKind,
) {
    let configure = |config: &mut Config| config.watch.targets_max = 2;
    let server = Stockroom::with(store, configure).await;
    for sku in ["a", "b", "c"] {
        put(&server.client, sku, 10).await;
        let few = received(&format!("few-{sku}"), sku, 5);
        server.client.adjust_stock(few).await.unwrap();
    }
    let proxy = Proxy::before(server.addr).await;
    let mut watch = through(&proxy).await.watch(WatchTargets::low_only());
    assert_eq!(until_synced(&mut watch).await.len(), 3);
    proxy.set(Line::Down);
    let many = received("many", "c", 100);
    server.client.adjust_stock(many).await.unwrap();
    proxy.set(Line::Up);
    // To name three levels is refused, so the next stream begins with none.
    let told = until_synced(&mut watch).await;
    let told: Vec<_> = told
        .iter()
        .map(|level| (&*level.sku, level.version, level.low_stock))
        .collect();
    assert_eq!(told, [("c", 2, false)]);
    sell(&server, 2).await;
    let next = tokio::time::timeout(DEADLINE, watch.next_level()).await;
    let next = next.expect("what is low goes on being told").unwrap();
    assert_eq!((&*next.sku, next.version), ("a", 2));
    assert_eq!(watch.repeats(), 0);
}
