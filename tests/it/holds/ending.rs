//! How holds end that nobody ends.

use futures_util::future::join_all;
use stockroom::client::proto::{CreateOrderRequest, OrderState};
use tonic::Code;

use super::{hold, is_over, read};
use crate::api::{cancel, confirm, level, order, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::process::Server;
use crate::scrape::Scrape;

on_each_store! {
    holds_that_are_over_end_by_themselves,
    confirm_cancel_and_expiry_that_race_end_each_order_once,
    a_hold_that_is_over_can_be_confirmed_until_it_ends,
    thousands_of_expired_holds_are_in_no_orders_way,
    what_takes_the_end_of_thousands_of_holds_is_not_foretold,
    holds_outlive_a_server_that_is_killed,
}

async fn holds_that_are_over_end_by_themselves(store: StoreKind) {
    let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 10).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let over = hold(client, "soon", &[("a", 4)], 1).await;
    let kept = hold(client, "later", &[("a", 3)], 600).await;
    eventually("the hold has ended", async || {
        let now = level(client, "a").await;
        (now.on_hand, now.reserved) == (10, 3)
    })
    .await;
    let ended = read(client, &over.order_id).await.order.unwrap();
    assert_eq!(
        (ended.state(), ended.expire_time),
        (OrderState::Expired, None)
    );
    let kept = read(client, &kept.order_id).await.order.unwrap();
    assert_eq!(kept.state(), OrderState::Pending);
    let refused = client.confirm_order(confirm("late", &over.order_id)).await;
    assert_eq!(refused.unwrap_err().reason, "ORDER_STATE");
}

async fn confirm_cancel_and_expiry_that_race_end_each_order_once(store: StoreKind) {
    let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 10).await;
    stock(&server.client, "a", 1_000).await;
    let mut held = Vec::new();
    for i in 0..64 {
        held.push(hold(&server.client, &format!("hold-{i}"), &[("a", 1)], 1).await);
    }
    // Half of them are over by now, or nearly.
    is_over(&server.home, &held[32]).await;
    let ends = held.iter().enumerate().map(|(i, held)| {
        let client = server.client.retrying();
        async move {
            let take = confirm(&format!("take-{i}"), &held.order_id);
            let back = cancel(&format!("back-{i}"), &held.order_id);
            let both = tokio::join!(client.confirm_order(&take), client.cancel_order(&back));
            (both.0.is_ok(), both.1.is_ok())
        }
    });
    let ends = join_all(ends).await;
    eventually("no hold is left", async || {
        level(&server.client, "a").await.reserved == 0
    })
    .await;
    let mut sold = 0;
    for (held, (confirmed, cancelled)) in held.iter().zip(ends) {
        let order = read(&server.client, &held.order_id).await.order.unwrap();
        let expected = match (confirmed, cancelled) {
            // A confirmed order can still be cancelled.
            (_, true) => OrderState::Cancelled,
            (true, false) => OrderState::Confirmed,
            (false, false) => OrderState::Expired,
        };
        assert_eq!(order.state(), expected);
        sold += i64::from(expected == OrderState::Confirmed);
    }
    assert_eq!(level(&server.client, "a").await.on_hand, 1_000 - sold);
}

async fn a_hold_that_is_over_can_be_confirmed_until_it_ends(store: StoreKind) {
    let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 3_600_000).await;
    stock(&server.client, "a", 10).await;
    let held = hold(&server.client, "hold", &[("a", 4)], 1).await;
    is_over(&server.home, &held).await;
    let taken = confirm("take", &held.order_id);
    server.client.confirm_order(taken).await.unwrap();
    let now = level(&server.client, "a").await;
    assert_eq!((now.on_hand, now.reserved), (6, 0));
}

/// More than are taken back in one transaction.
const HOLDS: i64 = 1_500;

/// Has no unit but those of as many holds, which are over.
async fn sold_out_by_expired_holds(store: StoreKind) -> Stockroom {
    let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 3_600_000).await;
    let client = &server.client;
    stock(client, "a", HOLDS).await;
    let holds =
        (0..HOLDS).map(|i| async move { hold(client, &format!("hold-{i}"), &[("a", 1)], 1).await });
    let held = join_all(holds).await;
    let last = held
        .iter()
        .max_by_key(|held| held.expire_time.map(|t| (t.seconds, t.nanos)));
    is_over(&server.home, last.unwrap()).await;
    server
}

async fn thousands_of_expired_holds_are_in_no_orders_way(store: StoreKind) {
    let server = sold_out_by_expired_holds(store).await;
    let client = &server.client;
    let all = order("all", &[("a", HOLDS)]);
    client.create_order(all).await.unwrap();
    let now = level(client, "a").await;
    assert_eq!((now.on_hand, now.reserved), (0, 0));
}

async fn what_takes_the_end_of_thousands_of_holds_is_not_foretold(store: StoreKind) {
    let server = sold_out_by_expired_holds(store).await;
    let asked = |units| CreateOrderRequest {
        validate_only: true,
        ..order("asked", &[("a", units)])
    };
    server.client.create_order(asked(HOLDS / 3)).await.unwrap();
    let refused = refusal(server.orders().create_order(asked(HOLDS)).await);
    refused.is(Code::ResourceExhausted, "OVERLOADED");
    assert_eq!(level(&server.client, "a").await.reserved, HOLDS);
}

async fn holds_outlive_a_server_that_is_killed(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    let client = server.client().await;
    stock(&client, "a", 10).await;
    let soon = hold(&client, "soon", &[("a", 4)], 1).await;
    let later = hold(&client, "later", &[("a", 3)], 600).await;
    let taken = hold(&client, "taken", &[("a", 2)], 600).await;
    client
        .confirm_order(confirm("take", &taken.order_id))
        .await
        .unwrap();
    server.kill();
    let server = Server::start(home.clone()).await;
    let client = server.client().await;
    eventually("the hold has ended", async || {
        let order = read(&client, &soon.order_id).await.order.unwrap();
        order.state() == OrderState::Expired
    })
    .await;
    let again = client
        .confirm_order(confirm("take", &taken.order_id))
        .await
        .unwrap();
    assert!(again.replayed);
    client
        .confirm_order(confirm("late", &later.order_id))
        .await
        .unwrap();
    let now = level(&client, "a").await;
    assert_eq!((now.on_hand, now.reserved), (5, 0));
}

mod of_damaged_books {
    use super::*;

    on_postgres! {
        a_hold_that_cannot_end_keeps_its_own_units_alone,
        a_hold_that_cannot_end_is_overdue_until_it_can,
        holds_that_cannot_end_keep_no_order_waiting_however_many_they_are,
    }

    async fn a_hold_that_cannot_end_keeps_its_own_units_alone(store: StoreKind) {
        let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 3_600_000).await;
        let (client, home) = (&server.client, &server.home);
        stock(client, "a", 10).await;
        stock(client, "b", 10).await;
        for (id, lines) in [
            ("damaged", &[("a", 4), ("b", 1)][..]),
            ("sound", &[("a", 3)]),
        ] {
            is_over(home, &hold(client, id, lines, 1).await).await;
        }
        // As if what it reserves had been lost.
        home.sql(
            "ALTER TABLE orders ADD CONSTRAINT damaged CHECK (state = 2 OR request_id <> 'damaged') NOT VALID",
        );
        client
            .create_order(order("six", &[("a", 6)]))
            .await
            .unwrap();
        let short = client.create_order(order("short", &[("a", 1)])).await;
        assert_eq!(short.unwrap_err().reason, "INSUFFICIENT_STOCK");
        home.sql("ALTER TABLE orders DROP CONSTRAINT damaged");
        client
            .create_order(order("rest", &[("a", 4)]))
            .await
            .unwrap();
        let left = level(client, "a").await;
        assert_eq!((left.on_hand, left.reserved), (0, 0));
    }

    async fn a_hold_that_cannot_end_is_overdue_until_it_can(store: StoreKind) {
        let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 10).await;
        let (client, home) = (&server.client, &server.home);
        let overdue = async || {
            let scrape = Scrape::of(server.http).await;
            scrape.value("stockroom_holds_overdue_seconds")
        };
        stock(client, "a", 10).await;
        home.sql(
            "ALTER TABLE orders ADD CONSTRAINT damaged CHECK (state = 2 OR request_id <> 'damaged') NOT VALID",
        );
        hold(client, "damaged", &[("a", 4)], 1).await;
        eventually("it is overdue", async || overdue().await >= 2.0).await;
        home.sql("ALTER TABLE orders DROP CONSTRAINT damaged");
        eventually("it has ended", async || {
            level(client, "a").await.reserved == 0
        })
        .await;
        eventually("none is overdue", async || overdue().await == 0.0).await;
    }

    async fn holds_that_cannot_end_keep_no_order_waiting_however_many_they_are(store: StoreKind) {
        const HOLDS: i64 = 3;
        /// So many that two of them fill a batch, and the three are ended by themselves.
        const LINES: usize = 500;
        const HELD: i64 = HOLDS * LINES as i64;
        let server = Stockroom::with(store, |c| {
            c.holds.sweep_interval_ms = 3_600_000;
            c.engine.batch_lines_max = 1_000;
        })
        .await;
        let (client, home) = (&server.client, &server.home);
        stock(client, "a", HELD).await;
        for i in 0..HOLDS {
            let lines = [("a", 1); LINES];
            is_over(
                home,
                &hold(client, &format!("damaged-{i}"), &lines, 1).await,
            )
            .await;
        }
        home.sql(
            "ALTER TABLE orders ADD CONSTRAINT damaged CHECK (state = 2 OR request_id NOT LIKE 'damaged-%') NOT VALID",
        );
        let short = client.create_order(order("short", &[("a", 1)])).await;
        assert_eq!(short.unwrap_err().reason, "INSUFFICIENT_STOCK");
        home.sql("ALTER TABLE orders DROP CONSTRAINT damaged");
        client
            .create_order(order("all", &[("a", HELD)]))
            .await
            .unwrap();
    }
}
