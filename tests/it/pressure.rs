//! A server that cannot take more says so, and what it says is safe to retry.

use std::time::Duration;

use futures_util::future::join_all;
use stockroom::client::proto::{ListProductsRequest, WatchStockRequest};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::api::{level, order, product, refusal, stock};
use crate::fixture::{Stockroom, StoreKind, eventually};
use crate::holding::Hold;
use crate::watching::everything;

on_each_store! {
    a_full_queue_of_orders_is_overloaded,
    a_full_queue_of_lines_is_overloaded,
    one_watch_too_many_is_refused_until_another_ends,
    a_connection_is_told_how_many_calls_it_may_carry,
}

mod of_reads {
    on_postgres! { reads_that_have_every_connection_leave_the_server_ready }
    use super::*;

    async fn reads_that_have_every_connection_leave_the_server_ready(store: StoreKind) {
        let server = Stockroom::with(store, |config| {
            config.server.request_timeout_ms = 60_000;
            config.store.pool_max = 1;
            config.store.acquire_timeout_ms = 500;
            config.store.statement_timeout_ms = 30_000;
        })
        .await;
        let hold = Hold::on_all_of(&server.home, "product").await;
        let mut inventory = server.inventory();
        let list = tokio::spawn(async move {
            inventory
                .list_products(ListProductsRequest::default())
                .await
        });
        hold.has_waiter().await;
        let began = server.home.sql("SELECT clock_timestamp()");
        let asked = format!(
            "SELECT count(*) > 0 FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'stockroom health'
               AND query_start > timestamptz '{began}' + interval '2 s'"
        );
        eventually("health has been asked for two seconds", async || {
            assert_eq!(server.health().await, ServingStatus::Serving);
            server.home.sql(&asked) == "t"
        })
        .await;
        assert!(!list.is_finished(), "somebody else could have read");
        drop(hold);
        list.await.unwrap().unwrap();
    }
}

mod contention {
    on_postgres! {
        exhausted_retries_give_stock_contention,
        retries_end_with_their_time_whatever_attempts_are_left,
        only_the_orders_of_a_contended_level_wait,
        contended_products_give_stock_contention,
    }
    use super::*;

    /// Makes every guarded update of one SKU's level find nothing, as when
    /// somebody else has always been faster.
    fn contend(server: &Stockroom, sku: &str) {
        server.home.sql(&format!(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER lose BEFORE UPDATE ON stock_level FOR EACH ROW
             WHEN (old.sku = '{sku}') EXECUTE FUNCTION lose();"
        ));
    }

    async fn server_that_tries(attempts: u32, store: StoreKind) -> Stockroom {
        Stockroom::with(store, |config| {
            config.engine.retry_attempts_max = attempts;
            config.engine.retry_backoff_max_ms = 10;
        })
        .await
    }

    async fn exhausted_retries_give_stock_contention(store: StoreKind) {
        let server = server_that_tries(3, store).await;
        stock(&server.client, "hot", 10).await;
        contend(&server, "hot");
        let request = order("unlucky", &[("hot", 1)]);
        let refused = refusal(server.orders().create_order(request.clone()).await);
        refused.is(Code::ResourceExhausted, "STOCK_CONTENTION");
        assert_eq!(refused.metadata("attempts"), "3");
        let delay = refused.retry_delay();
        assert!(!delay.is_zero());
        assert_eq!(refused.pushback_ms.map(u128::from), Some(delay.as_millis()));
        // Each attempt is planned again at once, on what is read then, before it ends.
        assert_eq!(server.counters.conflicts.get(), 2 * 3);
        assert_eq!(server.counters.contention_exhausted.get(), 1);
        assert_eq!(server.home.books().orders, 0, "nothing was written");
        server.home.sql("DROP TRIGGER lose ON stock_level");
        assert!(!server.client.create_order(request).await.unwrap().replayed);
    }

    async fn retries_end_with_their_time_whatever_attempts_are_left(store: StoreKind) {
        const ATTEMPTS: u32 = 100;
        let server = Stockroom::with(store, |config| {
            config.engine.retry_attempts_max = ATTEMPTS;
            config.engine.retry_backoff_max_ms = 10;
            config.engine.retry_total_ms = 1;
        })
        .await;
        stock(&server.client, "hot", 10).await;
        contend(&server, "hot");
        let request = order("unlucky", &[("hot", 1)]);
        let refused = refusal(server.orders().create_order(request).await);
        refused.is(Code::ResourceExhausted, "STOCK_CONTENTION");
        let attempts: u32 = refused.metadata("attempts").parse().unwrap();
        assert!(attempts < ATTEMPTS / 10, "{attempts}");
    }

    async fn only_the_orders_of_a_contended_level_wait(store: StoreKind) {
        let server = server_that_tries(3, store).await;
        stock(&server.client, "hot", 100).await;
        stock(&server.client, "calm", 100).await;
        contend(&server, "hot");
        let answers = join_all((0..40).map(|i| {
            let lines: &[_] = if i % 2 == 0 {
                &[("calm", 1)]
            } else {
                &[("calm", 1), ("hot", 1)]
            };
            server.client.create_order(order(&format!("o-{i}"), lines))
        }))
        .await;
        for (i, answer) in answers.iter().enumerate() {
            let reason = answer.as_ref().err().map_or("", |e| &e.reason);
            assert_eq!(reason, ["", "STOCK_CONTENTION"][i % 2], "order {i}");
        }
        assert_eq!(level(&server.client, "calm").await.on_hand, 80);
    }

    async fn contended_products_give_stock_contention(store: StoreKind) {
        let server = server_that_tries(2, store).await;
        stock(&server.client, "hot", 10).await;
        contend(&server, "hot");
        let request = stockroom::client::proto::PutProductsRequest {
            products: vec![product("hot", 5), product("new", 0)],
            ..Default::default()
        };
        let refused = refusal(server.inventory().put_products(request).await);
        refused
            .is(Code::ResourceExhausted, "STOCK_CONTENTION")
            .retry_delay();
        let hot = level(&server.client, "hot").await;
        assert_eq!((hot.version, hot.low_stock), (1, false));
    }
}

async fn a_full_queue_of_orders_is_overloaded(store: StoreKind) {
    let server = Stockroom::with(store, |config| {
        config.engine.queue_orders_max = 1;
        config.engine.batch_orders_max = 1;
        config.engine.commits_in_flight_max = 1;
    })
    .await;
    stock(&server.client, "a", 1_000).await;
    flood(&server, 200, &[("a", 1)]).await;
}

async fn a_full_queue_of_lines_is_overloaded(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.engine.queue_lines_max = 1_000).await;
    stock(&server.client, "a", 1_000_000).await;
    flood(&server, 40, &[("a", 1); 600]).await;
}

/// Sends more than the queue takes; whoever is refused is told to come back,
/// and has then taken nothing.
async fn flood(server: &Stockroom, orders: usize, lines: &[(&str, i64)]) {
    let requests: Vec<_> = (0..orders)
        .map(|i| order(&format!("o-{i}"), lines))
        .collect();
    let answers = join_all(requests.iter().map(|request| {
        let mut orders = server.orders();
        async move { orders.create_order(request.clone()).await }
    }))
    .await;
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(
        (1..orders).contains(&made),
        "{made} of {orders} went through"
    );
    for refused in answers.into_iter().filter(Result::is_err).map(refusal) {
        refused.is(Code::ResourceExhausted, "OVERLOADED");
        let delay = refused.retry_delay();
        assert_eq!(refused.pushback_ms.map(u128::from), Some(delay.as_millis()));
    }
    assert_eq!(server.home.books().orders, made as i64);
    // The client's own retries get all of them through.
    let again = server.client.retrying();
    for chunk in requests.chunks(2) {
        let answers = join_all(chunk.iter().map(|request| again.create_order(request))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert_eq!(server.home.books().orders, orders as i64);
}

async fn one_watch_too_many_is_refused_until_another_ends(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.watch.streams_max = 2).await;
    let watch = async || {
        let request = WatchStockRequest {
            selectors: vec![everything()],
            ..Default::default()
        };
        server.inventory().watch_stock(request).await
    };
    let first = watch().await.unwrap();
    let second = watch().await.unwrap();
    let refused = refusal(watch().await.map(drop));
    refused.is(Code::ResourceExhausted, "TOO_MANY_WATCHES");
    let quota = refused.details.quota_failure().unwrap();
    assert_eq!(quota.violations[0].description, "at most 2 streams");
    assert_eq!(refused.retry_delay(), Duration::from_secs(5));
    assert_eq!(refused.pushback_ms, Some(5_000));
    drop(first);
    eventually("a place is free", async || watch().await.is_ok()).await;
    drop(second);
}

async fn a_connection_is_told_how_many_calls_it_may_carry(store: StoreKind) {
    const CALLS: u32 = 3;
    let server = Stockroom::with(store, |config| {
        config.server.concurrent_streams_max = CALLS;
        config.watch.streams_per_connection_max = 1;
    })
    .await;
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let (caller, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    eventually("it is told", async || {
        caller.current_max_send_streams() == CALLS as usize
    })
    .await;
}
