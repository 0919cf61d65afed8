//! A commit whose outcome is not known is settled before anybody is answered.

use stockroom::client::proto::{CreateOrderRequest, CreateOrderResponse};
use tonic::Code;

use super::Guard;
use super::unheard::{Answer, ON, SWEEPS, Unheard, named, settled, shop, unheard_commit};
use crate::api::{level, order, received, refusal, stock, transfer};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::proxy::{Action, Line, Place, Proxy, behind_proxy};

/// Units at `main`, as the database has them.
const LEFT: &str = "SELECT on_hand FROM stock_level WHERE location = 'main'";

fn one_unit(request_id: &str) -> CreateOrderRequest {
    order(request_id, &[("a", 1)])
}

/// Sends an order.
fn send_order(server: &Stockroom, attempt: usize) -> Answer<CreateOrderResponse> {
    let (mut orders, request) = (server.orders(), one_unit(&named(attempt)));
    tokio::spawn(async move { orders.create_order(request).await })
}

/// [`unheard_commit`] of an order.
async fn unheard_order(server: &Stockroom, proxy: &Proxy) -> Unheard<CreateOrderResponse> {
    unheard_commit(server, proxy, "orders", 0, |i| send_order(server, i)).await
}

/// Units at `main`, as callers see them.
async fn left(server: &Stockroom) -> String {
    level(&server.client, "a").await.on_hand.to_string()
}

pub(super) async fn an_order_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let send = |attempt| send_order(&server, attempt);
    let settled = settled(&server, &proxy, "orders", LEFT, send).await;
    let answer = settled.answer;
    assert!(!answer.replayed, "it is the first answer to this request");
    let request = one_unit(&named(settled.attempt));
    let again = server.client.create_order(request).await.unwrap();
    assert_eq!((again.replayed, &again.order), (true, &answer.order));
    assert_eq!(left(&server).await, settled.before, "sold once");
    let counted = server.counters.orders.accepted.get();
    let made = server.home.sql("SELECT count(*) FROM orders");
    assert_eq!(counted.to_string(), made, "counted once");
}

pub(super) async fn an_adjustment_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let send = |attempt| {
        let request = received(&named(attempt), "a", 1);
        let mut inventory = server.inventory();
        tokio::spawn(async move { inventory.adjust_stock(request).await })
    };
    let settled = settled(&server, &proxy, "movement", LEFT, send).await;
    let answer = settled.answer;
    assert!(!answer.replayed, "it is the first answer to this request");
    let request = received(&named(settled.attempt), "a", 1);
    let again = server.client.adjust_stock(request).await.unwrap();
    assert_eq!((again.replayed, &again.movement), (true, &answer.movement));
    assert_eq!(left(&server).await, settled.before, "added once");
    let counted = server.counters.adjustments.accepted.get();
    let made = server.home.sql("SELECT count(*) FROM movement");
    assert_eq!(counted.to_string(), made, "counted once");
}

pub(super) async fn a_transfer_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let request = |attempt| transfer(&named(attempt), "main", "york", &[("a", 1)]);
    let send = |attempt| {
        let (mut inventory, request) = (server.inventory(), request(attempt));
        tokio::spawn(async move { inventory.transfer_stock(request).await })
    };
    let settled = settled(&server, &proxy, "request", LEFT, send).await;
    let answer = settled.answer;
    assert!(!answer.replayed, "it is the first answer to this request");
    let again = request(settled.attempt);
    let again = server.client.transfer_stock(again).await.unwrap();
    assert_eq!(
        (again.replayed, &again.movements),
        (true, &answer.movements)
    );
    assert_eq!(again.movements.len(), 2);
    assert_eq!(left(&server).await, settled.before, "moved once");
}

pub(super) async fn an_order_that_cannot_be_settled_in_time_is_store_unavailable_and_settled_later(
    guard: Guard,
) {
    let home = Home::migrated(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, |config| {
        config.engine.settle_timeout_ms = 1_000;
        (guard.configure)(config);
    })
    .await;
    stock(&server.client, "a", 1_000).await;
    let unheard = unheard_order(&server, &proxy).await;
    proxy.set(Line::Down);
    let before = server.home.sql(LEFT);
    let refused = refusal(unheard.answer.await.unwrap());
    refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(!refused.retry_delay().is_zero());
    proxy.set(Line::Up);
    let request = one_unit(&named(unheard.attempt));
    let settled = server.client.retrying().create_order(&request).await;
    assert!(settled.unwrap().replayed, "it had been made");
    assert_eq!(left(&server).await, before, "sold once");
}

pub(super) async fn a_commit_that_arrives_after_it_was_given_up_changes_nothing(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let first = unheard_order(&server, &proxy).await;
    first.held.release(ON);
    first.answer.await.unwrap().unwrap();
    let retrying = server.client.retrying();
    // PostgreSQL itself ends a transaction whose COMMIT does not come.
    let given_up = || server.counters.commit.settled.get() + server.home.transactions_given_up();
    for attempt in 0..3 * SWEEPS {
        let before: i64 = left(&server).await.parse().unwrap();
        let request = one_unit(&format!("given-up-{attempt}"));
        // What precedes the commit is as much as it was, but for what else the server asks,
        // then or now.
        let point = (first.point + [1, 2, 0][attempt % 3]).saturating_sub(1);
        let mut held = proxy.arm(point, Place::Before, Action::Hold);
        let given_up_before = given_up();
        let mut making = std::pin::pin!(retrying.create_order(&request));
        tokio::select! {
            () = held.struck() => {}
            // It takes fewer requests than are to pass.
            made = &mut making => {
                made.unwrap();
                continue;
            }
        }
        let made = making.await.unwrap();
        // The level that the commit was planned on has moved on twice.
        let next = one_unit(&format!("next-{attempt}"));
        retrying.create_order(&next).await.unwrap();
        held.release(ON);
        held.over().await;
        let again = retrying.create_order(&request).await.unwrap();
        assert_eq!((again.replayed, &again.order), (true, &made.order));
        let last = one_unit(&format!("last-{attempt}"));
        retrying.create_order(&last).await.unwrap();
        let sold = before - level(&server.client, "a").await.on_hand;
        assert_eq!(sold, 3);
        if given_up() > given_up_before {
            return;
        }
    }
    panic!("what was held back was never a commit");
}
