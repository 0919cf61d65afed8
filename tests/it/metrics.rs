//! What a server tells those who look after it.

use std::collections::BTreeMap;

use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::api::{order, put, received, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::process::Server;
use crate::proxy::Proxy;
use crate::readme::README;
use crate::scrape::{Scrape, get};
use crate::watching::{Watcher, everything, level_of, watch_of};

on_each_store! {
    metrics_count_orders_by_outcome_and_reason,
    metrics_count_adjustments_by_outcome_and_reason,
    two_servers_in_one_process_count_apart,
    every_metric_has_help_and_is_a_histogram_or_counter_or_gauge_never_a_summary,
    gauges_of_watch_streams_fall_when_a_client_vanishes,
    metrics_count_resumes_and_goodbyes_by_reason,
    readyz_says_no_while_draining,
    a_process_says_where_it_is_scraped,
    metrics_say_when_the_books_were_checked,
    metrics_say_how_long_the_oldest_event_has_waited,
}

/// `{outcome="…",reason="…"}`, as the exporter writes labels.
fn outcome(outcome: &str, reason: &str) -> String {
    format!("{{outcome=\"{outcome}\",reason=\"{reason}\"}}")
}

#[track_caller]
fn assert_counted(scrape: &Scrape, metric: &str, expected: &[(&str, &str, f64)]) {
    let expected: BTreeMap<String, f64> = expected
        .iter()
        .map(|&(what, reason, count)| (outcome(what, reason), count))
        .collect();
    let counted: BTreeMap<String, f64> = scrape
        .counted(metric)
        .into_iter()
        .map(|(labels, count)| (labels.to_owned(), count))
        .collect();
    assert_eq!(counted, expected);
}

async fn metrics_count_orders_by_outcome_and_reason(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    assert_counted(
        &Scrape::of(server.http).await,
        "stockroom_orders_total",
        &[],
    );
    stock(client, "a", 10).await;
    for (request_id, sku, quantity) in [
        ("first", "a", 2),
        ("second", "a", 3),
        ("first", "a", 2),
        ("first", "a", 1),
        ("too-many", "a", 6),
        ("far-too-many", "a", 600),
        ("unknown", "b", 1),
        ("invalid", "a", 0),
    ] {
        let _ = client
            .create_order(order(request_id, &[(sku, quantity)]))
            .await;
    }
    let expected = [
        ("accepted", "", 2.0),
        ("replayed", "", 1.0),
        ("refused", "REQUEST_ID_REUSED", 1.0),
        ("refused", "INSUFFICIENT_STOCK", 2.0),
        ("refused", "SKU_NOT_FOUND", 1.0),
        ("refused", "INVALID_REQUEST", 1.0),
    ];
    let scrape = Scrape::of(server.http).await;
    assert_counted(&scrape, "stockroom_orders_total", &expected);
    // What has not happened yet is 0, not absent, so that its first time is a rise.
    let failed = outcome("failed", "STORE_UNAVAILABLE");
    assert_eq!(
        scrape.value(&format!("stockroom_orders_total{failed}")),
        0.0
    );
}

async fn metrics_count_adjustments_by_outcome_and_reason(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    for (request_id, sku, delta) in [
        ("in", "a", 10),
        ("in", "a", 10),
        ("out", "a", -11),
        ("elsewhere", "b", 1),
    ] {
        let _ = server
            .client
            .adjust_stock(received(request_id, sku, delta))
            .await;
    }
    let scrape = Scrape::of(server.http).await;
    let expected = [
        ("accepted", "", 1.0),
        ("replayed", "", 1.0),
        ("refused", "INSUFFICIENT_STOCK", 1.0),
        ("refused", "SKU_NOT_FOUND", 1.0),
    ];
    assert_counted(&scrape, "stockroom_adjustments_total", &expected);
    assert_counted(&scrape, "stockroom_orders_total", &[]);
}

async fn two_servers_in_one_process_count_apart(store: StoreKind) {
    let busy = Stockroom::start(store).await;
    let idle = Stockroom::start(store).await;
    stock(&busy.client, "a", 1).await;
    let commits = async |server: &Stockroom| {
        let scrape = Scrape::of(server.http).await;
        scrape.value("stockroom_commits_total")
    };
    assert_eq!(commits(&busy).await, busy.counters.commit.made.get() as f64);
    assert!(commits(&busy).await > 0.0);
    assert_eq!(commits(&idle).await, 0.0);
}

async fn every_metric_has_help_and_is_a_histogram_or_counter_or_gauge_never_a_summary(
    store: StoreKind,
) {
    let server = Stockroom::start(store).await;
    let scrape = Scrape::of(server.http).await;
    assert!(scrape.types.len() > 20, "{:?}", scrape.types);
    for (name, kind) in &scrape.types {
        assert!(name.starts_with("stockroom_"), "{name}");
        assert!(scrape.helped.contains(name), "{name} has no help");
        assert!(
            ["counter", "gauge", "histogram"].contains(&kind.as_str()),
            "{name} is a {kind}"
        );
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        if kind == "histogram" {
            // Buckets that were not forgotten, and the one without end.
            let buckets = scrape.series.keys();
            let prefix = format!("{name}_bucket{{le=");
            let buckets = buckets.filter(|series| series.starts_with(&prefix)).count();
            assert!(buckets > 5, "{name} has {buckets} buckets");
            scrape.value(&format!("{name}_bucket{{le=\"+Inf\"}}"));
        }
        let row = format!("| `{name}");
        assert!(README.contains(&row), "README.md does not list {name}");
    }
}

async fn gauges_of_watch_streams_fall_when_a_client_vanishes(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let proxy = Proxy::before(server.addr).await;
    let channel = Channel::from_shared(format!("http://{}", proxy.addr)).unwrap();
    let mut client = InventoryServiceClient::new(channel.connect().await.unwrap());
    let streams = async || {
        let scrape = Scrape::of(server.http).await;
        scrape.value("stockroom_watch_streams")
    };
    assert_eq!(streams().await, 0.0);
    let mut open = Vec::new();
    for _ in 0..3 {
        let watch = watch_of(vec![everything()]);
        open.push(client.watch_stock(watch).await.unwrap().into_inner());
    }
    assert_eq!(streams().await, 3.0);
    drop(open.pop());
    eventually("a cancelled stream is not counted", async || {
        streams().await == 2.0
    })
    .await;
    proxy.cut();
    eventually("streams without a client are not counted", async || {
        streams().await == 0.0
    })
    .await;
}

async fn metrics_count_resumes_and_goodbyes_by_reason(store: StoreKind) {
    let mut server = Stockroom::with(store, |config| config.watch.age_max_ms = 1_000).await;
    stock(&server.client, "a", 1).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("a")])).await;
    watcher.until_goodbye().await;
    let mut again = watch_of(Vec::new());
    again.seen = watcher.seen();
    let mut watcher = Watcher::synced(&server, again).await;
    let scrape = Scrape::of(server.http).await;
    assert_eq!(scrape.value("stockroom_watch_deliveries_total"), 1.0);
    assert_eq!(scrape.value("stockroom_watch_resumes_total"), 1.0);
    let aged = scrape.counted("stockroom_watch_goodbyes_total");
    assert_eq!(aged, BTreeMap::from([("{reason=\"AGE\"}", 1.0)]));
    server.begin_shutdown();
    watcher.until_goodbye().await;
    let goodbyes = &server.counters.watches.goodbyes;
    assert_eq!(goodbyes.draining.get() + goodbyes.age.get(), 2);
}

async fn readyz_says_no_while_draining(store: StoreKind) {
    let mut server = Stockroom::start(store).await;
    assert_eq!(get(server.http, "/readyz").await.status, 200);
    assert_eq!(get(server.http, "/livez").await.status, 200);
    assert_eq!(get(server.http, "/").await.status, 404);
    // A stream that its client does not end keeps the drain waiting.
    let mut health = HealthClient::new(server.channel.clone());
    let open = health.watch(HealthCheckRequest::default()).await.unwrap();
    server.begin_shutdown();
    eventually("it is not ready", async || {
        get(server.http, "/readyz").await.status == 503
    })
    .await;
    assert_eq!(get(server.http, "/livez").await.status, 200);
    // What a draining server did is of interest until its end.
    let scrape = Scrape::of(server.http).await;
    assert_eq!(scrape.value("stockroom_ready"), 0.0);
    drop(open);
}

async fn a_process_says_where_it_is_scraped(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let address = server.log().lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let said = event["message"] == "listening for scrapes";
        said.then(|| event["address"].as_str().unwrap().to_owned())
    });
    let address = address.expect("it listens before it serves");
    let answer = get(address.parse().unwrap(), "/readyz").await;
    assert_eq!(answer.status, 200);
}

async fn metrics_say_when_the_books_were_checked(store: StoreKind) {
    /// Seconds: what counts in others is out of it.
    const THIS_CENTURY: std::ops::Range<f64> = 1.7e9..4.1e9;
    let server = Stockroom::start(store).await;
    eventually("the books have been checked", async || {
        let scrape = Scrape::of(server.http).await;
        let checked = scrape.value("stockroom_books_checked_timestamp_seconds");
        THIS_CENTURY.contains(&checked)
    })
    .await;
}

async fn metrics_say_how_long_the_oldest_event_has_waited(store: StoreKind) {
    let server = Stockroom::with(store, |config| {
        // Nobody is there to take it.
        config.events.brokers = "127.0.0.1:1".to_owned();
        config.events.drain_timeout_ms = 100;
    })
    .await;
    let age = async || {
        let scrape = Scrape::of(server.http).await;
        scrape.value("stockroom_outbox_age_seconds")
    };
    assert_eq!(age().await, 0.0, "there is none");
    stock(&server.client, "a", 1).await;
    eventually("it has waited", async || age().await >= 2.0).await;
}

mod on_a_server {
    use std::time::Duration;

    use stockroom::config::MigrateAtStart;
    use tokio::time::timeout;
    use tonic::Request;

    use super::*;
    use crate::holding::Hold;

    on_postgres! {
        readyz_says_no_until_somebody_migrates,
        metrics_count_levels_that_only_the_re_read_found_newer,
        metrics_count_calls_whose_deadline_passes_and_whose_caller_hangs_up,
        metrics_count_levels_that_cannot_be,
    }

    async fn readyz_says_no_until_somebody_migrates(store: StoreKind) {
        let home = Home::new(store);
        let server = Stockroom::not_ready(home.clone(), |config| {
            config.store.migrate_at_start = MigrateAtStart::Never;
        })
        .await;
        assert_eq!(get(server.http, "/readyz").await.status, 503);
        assert_eq!(get(server.http, "/livez").await.status, 200);
        let migrating = Stockroom::on(home, |_| {}).await;
        eventually("it is ready", async || {
            get(server.http, "/readyz").await.status == 200
        })
        .await;
        let scrape = Scrape::of(server.http).await;
        assert_eq!(scrape.value("stockroom_ready"), 1.0);
        drop(migrating);
    }

    async fn metrics_count_calls_whose_deadline_passes_and_whose_caller_hangs_up(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let unanswered = async || {
            let scrape = Scrape::of(server.http).await;
            scrape.value("stockroom_calls_unanswered_total{method=\"CreateOrder\"}")
        };
        let fine = server.client.create_order(order("fine", &[("a", 1)])).await;
        fine.unwrap();
        assert_eq!(unanswered().await, 0.0, "and none that is answered");
        let hold = Hold::on(&server.home).await;
        let mut late = Request::new(order("late", &[("a", 1)]));
        late.set_timeout(Duration::from_millis(100));
        server.orders().create_order(late).await.unwrap_err();
        eventually("the late one is counted", async || {
            unanswered().await == 1.0
        })
        .await;
        // As often as it takes: one may hang up before its call has arrived.
        eventually("one who hangs up is counted", async || {
            let gone = server.client.create_order(order("gone", &[("a", 1)]));
            timeout(Duration::from_millis(100), gone).await.unwrap_err();
            unanswered().await > 1.0
        })
        .await;
        drop(hold);
    }

    /// A unit goes by hand, and nobody is told.
    const UNTOLD: &str = "\
        UPDATE stock_level SET on_hand = on_hand - 1, version = version + 1 WHERE sku = 'a'; \
        INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, \
                              on_hand, reserved, time_us) \
        SELECT sku, location, version, 5, -1, 0, on_hand, reserved, updated_us \
        FROM stock_level WHERE sku = 'a'; \
        INSERT INTO movement_time \
        SELECT updated_us, sku, location, version, ARRAY[sku], ARRAY[location], \
               ARRAY[version - 1], ARRAY[version] \
        FROM stock_level WHERE sku = 'a'";

    async fn metrics_count_levels_that_only_the_re_read_found_newer(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let mut watcher = Watcher::synced(&server, watch_of(vec![level_of("a")])).await;
        let sold = order("told", &[("a", 1)]);
        server.client.create_order(sold).await.unwrap();
        watcher.until("a", 2).await;
        let repairs = async || {
            let scrape = Scrape::of(server.http).await;
            scrape.value("stockroom_watch_reread_repairs_total")
        };
        let before = repairs().await;
        server.home.sql(UNTOLD);
        watcher.until("a", 3).await;
        // A local commit may be re-read before it is published: more are no mistake.
        eventually("the repair is counted", async || repairs().await > before).await;
    }

    /// Units that no hold reserves, and units that are sold and were never there.
    const DAMAGE: &str = "\
        ALTER TABLE stock_level DROP CONSTRAINT stock_level_units; \
        UPDATE stock_level SET reserved = 1 WHERE sku IN ('a', 'b'); \
        UPDATE stock_level SET on_hand = -1 WHERE sku = 'c'";

    async fn metrics_count_levels_that_cannot_be(store: StoreKind) {
        let sound = Stockroom::start(store).await;
        for sku in ["a", "b", "c", "d"] {
            stock(&sound.client, sku, 10).await;
        }
        let home = sound.home.clone();
        drop(sound);
        // Before the next one looks: it does so as it starts, and then each minute.
        home.sql(DAMAGE);
        let server = Stockroom::on(home, |_| {}).await;
        eventually("they are counted", async || {
            let scrape = Scrape::of(server.http).await;
            let found = ["stockroom_reserved_mismatch", "stockroom_stock_negative"];
            found.map(|gauge| scrape.value(gauge)) == [2.0, 1.0]
        })
        .await;
        let mended = "UPDATE stock_level SET reserved = 0, on_hand = 10";
        server.home.sql(mended);
    }
}
