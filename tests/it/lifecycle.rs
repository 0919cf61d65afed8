//! Starting, being asked, draining and ending.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use stockroom::config::MigrateAtStart;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holding::Hold;
use crate::process::{Server, run};
use crate::scrape::Scrape;
use crate::watching::{Watcher, everything, watch_of};

on_each_store! {
    health_is_told_for_the_server_and_each_service,
    reflection_speaks_v1_and_v1alpha,
    orders_under_way_are_answered_before_a_drain_ends,
    a_process_ends_well_on_sigterm_and_on_sigint,
    a_second_signal_ends_a_process_at_once,
    what_is_stored_outlives_the_server,
}

const SERVICES: [&str; 2] = ["stockroom.v1.InventoryService", "stockroom.v1.OrderService"];

async fn health_is_told_for_the_server_and_each_service(store: StoreKind) {
    let mut server = Stockroom::start(store).await;
    let mut health = HealthClient::new(server.channel.clone());
    for service in ["", SERVICES[0], SERVICES[1]] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    assert_eq!(
        watched.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    server.begin_shutdown();
    let last = watched.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    drop(watched);
}

/// The services that reflection lists; its two versions are alike but for their types.
macro_rules! services_by_reflection {
    ($version:ident, $server:expr) => {{
        use $version::ServerReflectionRequest;
        use $version::server_reflection_client::ServerReflectionClient;
        use $version::server_reflection_request::MessageRequest::ListServices;
        use $version::server_reflection_response::MessageResponse::ListServicesResponse;
        let request = ServerReflectionRequest {
            message_request: Some(ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let mut client = ServerReflectionClient::new($server.channel.clone());
        let requests = futures_util::stream::iter([request]);
        let mut answers = client
            .server_reflection_info(requests)
            .await
            .unwrap()
            .into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        let Some(ListServicesResponse(list)) = answer.message_response else {
            panic!("{answer:?} lists no services");
        };
        list.service
            .into_iter()
            .map(|service| service.name)
            .collect::<Vec<_>>()
    }};
}

async fn reflection_speaks_v1_and_v1alpha(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for names in [
        services_by_reflection!(v1, server),
        services_by_reflection!(v1alpha, server),
    ] {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(
                names.iter().any(|name| name == service),
                "{service} is not in {names:?}"
            );
        }
    }
}

async fn orders_under_way_are_answered_before_a_drain_ends(store: StoreKind) {
    const ORDERS: usize = 200;
    let mut server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000).await;
    let client = server.client.clone();
    let answers = tokio::spawn(async move {
        let orders =
            (0..ORDERS).map(|i| client.create_order(order(&format!("o-{i}"), &[("a", 1)])));
        join_all(orders).await
    });
    let counters = server.counters.clone();
    eventually("orders run", async || counters.orders.accepted.get() > 0).await;
    server.begin_shutdown();
    let answers = answers.await.unwrap();
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.code, Code::Unavailable, "{error:?}");
        assert!(error.retryable());
    }
    server.end().unwrap();
    // No order was made that nobody heard of.
    assert_eq!(server.home.books().orders, made as i64);
}

async fn a_process_ends_well_on_sigterm_and_on_sigint(store: StoreKind) {
    let home = Home::new(store);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start(home.clone()).await;
        server.signal(signal);
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {}", server.log());
        assert!(server.log().contains("\"stopped\""), "{}", server.log());
    }
}

async fn a_second_signal_ends_a_process_at_once(store: StoreKind) {
    let home = Home::new(store);
    let mut server = Server::start(home).await;
    // A stream that its client does not end keeps a drain waiting for its whole time.
    let channel = Channel::from_shared(server.url.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel);
    let _open = health.watch(HealthCheckRequest::default()).await.unwrap();
    server.signal(Signal::SIGTERM);
    eventually("it drains", async || server.log().contains("\"draining\"")).await;
    server.signal(Signal::SIGTERM);
    let began = std::time::Instant::now();
    assert_eq!(server.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5));
}

async fn what_is_stored_outlives_the_server(store: StoreKind) {
    let home = Home::new(store);
    let first = Stockroom::on(home.clone(), |_| {}).await;
    stock(&first.client, "a", 10).await;
    first
        .client
        .create_order(order("before", &[("a", 1)]))
        .await
        .unwrap();
    let seen_before = Watcher::synced(&first, watch_of(vec![everything()])).await;
    drop(first);
    let second = Stockroom::on(home, |_| {}).await;
    let answer = second
        .client
        .create_order(order("before", &[("a", 1)]))
        .await
        .unwrap();
    assert!(answer.replayed);
    let seen_after = Watcher::synced(&second, watch_of(vec![everything()])).await;
    assert_eq!(seen_after.latest, seen_before.latest);
    assert_eq!(seen_after.started.store_id, seen_before.started.store_id);
}

mod on_a_file {
    use super::*;
    use crate::fixture::run_on;

    #[test]
    fn a_second_server_on_the_same_file_refuses_to_start() {
        run_on(StoreKind::Sqlite, async |store| {
            let server = Stockroom::start(store).await;
            let folder = tempfile::tempdir().unwrap();
            for command in ["serve", "migrate"] {
                let url = server.home.url();
                let flags = [command, "--store-url", &url, "--listen", "127.0.0.1:0"];
                let flags = [&flags[..], &["--set", "http.listen=off"]].concat();
                let second = run(folder.path(), &flags);
                let said = String::from_utf8_lossy(&second.stderr);
                assert_eq!(second.status.code(), Some(1), "{said}");
                assert!(said.contains("another stockroom has"), "{said}");
            }
            stock(&server.client, "a", 1).await;
        });
    }
}

mod on_a_server {
    use super::*;

    on_postgres! {
        a_server_is_not_serving_until_somebody_migrates,
        a_schema_from_the_future_is_refused,
        ten_migrations_at_once_do_each_step_once,
        orders_that_wait_for_a_commit_are_answered_before_sigterm_ends_the_process,
    }

    async fn orders_that_wait_for_a_commit_are_answered_before_sigterm_ends_the_process(
        store: StoreKind,
    ) {
        const ORDERS: usize = 40;
        let home = Home::new(store);
        // The database gives up on nothing that waits here.
        let patience = ["--set", "store.statement_timeout_ms=60000"];
        let mut server = Server::start_with(home.clone(), &patience).await;
        let (client, http) = (server.client().await, server.http().await);
        stock(&client, "a", 1_000).await;
        let hold = Hold::on(&home).await;
        let answers = tokio::spawn(async move {
            let orders =
                (0..ORDERS).map(|i| client.create_order(order(&format!("o-{i}"), &[("a", 1)])));
            join_all(orders).await
        });
        eventually("all of them are queued", async || {
            let queued = Scrape::of(http).await.value("stockroom_queue_orders");
            queued == ORDERS as f64
        })
        .await;
        hold.has_waiter().await;
        server.signal(Signal::SIGTERM);
        eventually("it drains", async || server.log().contains("\"draining\"")).await;
        drop(hold);
        for answer in answers.await.unwrap() {
            answer.unwrap();
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert_eq!(home.books().orders, ORDERS as i64);
    }

    async fn a_server_is_not_serving_until_somebody_migrates(store: StoreKind) {
        let server = Stockroom::not_ready(Home::new(store), |config| {
            config.store.migrate_at_start = MigrateAtStart::Auto;
        })
        .await;
        server.waits_for_its_store().await;
        let folder = tempfile::tempdir().unwrap();
        let migrated = run(
            folder.path(),
            &["migrate", "--store-url", &server.home.url()],
        );
        assert!(migrated.status.success());
        server.wait_for_health(ServingStatus::Serving).await;
        stock(&server.client, "a", 1).await;
    }

    async fn a_schema_from_the_future_is_refused(store: StoreKind) {
        let mut server = Stockroom::start(store).await;
        server.end().unwrap();
        let future = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('9999_future', 0)";
        server.home.sql(future);
        let folder = tempfile::tempdir().unwrap();
        let url = server.home.url();
        let flags = ["serve", "--store-url", &url, "--listen", "127.0.0.1:0"];
        let flags = [&flags[..], &["--set", "http.listen=off"]].concat();
        let refused = run(folder.path(), &flags);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("9999_future"), "{said}");
        assert_eq!(
            run(folder.path(), &["migrate", "--store-url", &url])
                .status
                .code(),
            Some(1)
        );
    }

    async fn ten_migrations_at_once_do_each_step_once(store: StoreKind) {
        let home = Home::new(store);
        let url = home.url();
        let migrations: Vec<_> = (0..10)
            .map(|_| {
                let url = url.clone();
                tokio::task::spawn_blocking(move || {
                    let folder = tempfile::tempdir().unwrap();
                    run(folder.path(), &["migrate", "--store-url", &url])
                })
            })
            .collect();
        let mut did_something = 0;
        for migrated in join_all(migrations).await {
            let said = crate::process::stdout(&migrated.unwrap());
            did_something += usize::from(said.contains("missing"));
        }
        assert_eq!(did_something, 1);
        assert_eq!(home.sql("SELECT count(*) FROM store"), "1");
    }
}
