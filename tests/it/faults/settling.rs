//! A commit whose outcome is not known is settled before anybody is answered.

use std::time::Duration;

use stockroom::client::proto::{CreateOrderRequest, CreateOrderResponse};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use super::Guard;
use crate::api::{level, order, received, refusal, stock, transfer};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::proxy::{Action, Line, Place, Proxy, Strike, behind_proxy};

/// Requests to the database that one write on an idle server takes at most.
const REQUESTS_MAX: usize = 12;

/// What else a server asks its database now and then (the sweeper: every second, while an
/// attempt takes a third of one) must not spoil a test.
const SWEEPS: usize = 10;

/// An answer that has not come after this is held back.
const ANSWER: Duration = Duration::from_millis(300);

/// Goes on at once.
const ON: Action = Action::Delay(Duration::ZERO);

/// A write that is made, and whose server waits to hear that.
struct Unheard<T> {
    request_id: String,
    answer: Answer<T>,
    /// The commit is the request that so many others of the write precede.
    point: usize,
    held: Strike,
}

/// What a caller waits for.
type Answer<T> = JoinHandle<Result<Response<T>, Status>>;

/// Sends writes one by one, each with another reply of the database held back,
/// until what is held back is the reply to a commit. What a write makes has its
/// request_id in `table`.
async fn unheard_commit<T>(
    server: &Stockroom,
    proxy: &Proxy,
    table: &str,
    send: impl Fn(&str) -> Answer<T>,
) -> Unheard<T> {
    for attempt in 0..SWEEPS * REQUESTS_MAX {
        let request_id = format!("attempt-{attempt}");
        let point = attempt % REQUESTS_MAX;
        let mut held = proxy.arm(point, Place::AfterReply, Action::Hold);
        let mut answer = send(&request_id);
        tokio::select! {
            () = held.struck() => {}
            // The write takes fewer requests than are to pass.
            answer = &mut answer => {
                answer.unwrap().expect("nothing was held back");
                continue;
            }
        }
        let made = format!("SELECT count(*) FROM {table} WHERE request_id = '{request_id}'");
        let is_made = server.home.sql(&made) == "1";
        match timeout(ANSWER, &mut answer).await {
            Err(_) if is_made => {
                return Unheard {
                    request_id,
                    answer,
                    point,
                    held,
                };
            }
            Err(_) => {
                held.release(ON);
                answer.await.unwrap().expect("it was held back shortly");
            }
            // What was held back was no part of the write.
            Ok(answer) => {
                held.release(ON);
                answer.unwrap().expect("it was not held back");
            }
        }
    }
    panic!("no reply was the one to a commit");
}

fn one_unit(request_id: &str) -> CreateOrderRequest {
    order(request_id, &[("a", 1)])
}

/// [`unheard_commit`] of an order.
async fn unheard_order(server: &Stockroom, proxy: &Proxy) -> Unheard<CreateOrderResponse> {
    unheard_commit(server, proxy, "orders", |request_id| {
        let (mut orders, request) = (server.orders(), one_unit(request_id));
        tokio::spawn(async move { orders.create_order(request).await })
    })
    .await
}

/// A server with units to sell.
async fn shop(guard: Guard) -> (Stockroom, Proxy) {
    let home = Home::new(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, guard.configure).await;
    stock(&server.client, "a", 100).await;
    (server, proxy)
}

/// What is left, as the database has it.
fn on_hand(server: &Stockroom) -> i64 {
    let left = server.home.sql("SELECT on_hand FROM stock_level");
    left.parse().unwrap()
}

pub(super) async fn an_order_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let unheard = unheard_order(&server, &proxy).await;
    let left = on_hand(&server);
    unheard.held.release(Action::Reset);
    let answer = unheard.answer.await.unwrap();
    let answer = answer.expect("settled before it is answered").into_inner();
    assert!(!answer.replayed, "it is the first answer to this request");
    let request = one_unit(&unheard.request_id);
    let again = server.client.create_order(request).await.unwrap();
    assert_eq!((again.replayed, &again.order), (true, &answer.order));
    assert_eq!(level(&server.client, "a").await.on_hand, left, "sold once");
    let counted = server.counters.orders_committed.get();
    let made = server.home.sql("SELECT count(*) FROM orders");
    assert_eq!(counted.to_string(), made, "counted once");
}

pub(super) async fn an_adjustment_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let unheard = unheard_commit(&server, &proxy, "movement", |request_id| {
        let (mut inventory, request) = (server.inventory(), received(request_id, "a", 1));
        tokio::spawn(async move { inventory.adjust_stock(request).await })
    })
    .await;
    let left = on_hand(&server);
    unheard.held.release(Action::Reset);
    let answer = unheard.answer.await.unwrap();
    let answer = answer.expect("settled before it is answered").into_inner();
    let request = received(&unheard.request_id, "a", 1);
    let again = server.client.adjust_stock(request).await.unwrap();
    assert_eq!((again.replayed, &again.movement), (true, &answer.movement));
    assert_eq!(level(&server.client, "a").await.on_hand, left, "added once");
    assert!(!answer.replayed, "it is the first answer to this request");
    let counted = server.counters.adjustments_committed.get();
    let made = server.home.sql("SELECT count(*) FROM movement");
    assert_eq!(counted.to_string(), made, "counted once");
}

pub(super) async fn a_transfer_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let request = |request_id: &str| transfer(request_id, "main", "york", &[("a", 1)]);
    let unheard = unheard_commit(&server, &proxy, "request", |request_id| {
        let (mut inventory, request) = (server.inventory(), request(request_id));
        tokio::spawn(async move { inventory.transfer_stock(request).await })
    })
    .await;
    let left = server
        .home
        .sql("SELECT on_hand FROM stock_level WHERE location = 'main'");
    let left: i64 = left.parse().unwrap();
    unheard.held.release(Action::Reset);
    let answer = unheard.answer.await.unwrap();
    let answer = answer.expect("settled before it is answered").into_inner();
    let again = request(&unheard.request_id);
    let again = server.client.transfer_stock(again).await.unwrap();
    assert_eq!(
        (again.replayed, &again.movements),
        (true, &answer.movements)
    );
    assert_eq!(again.movements.len(), 2);
    assert_eq!(level(&server.client, "a").await.on_hand, left, "moved once");
    assert!(!answer.replayed, "it is the first answer to this request");
}

pub(super) async fn an_order_that_cannot_be_settled_in_time_is_store_unavailable_and_settled_later(
    guard: Guard,
) {
    let home = Home::new(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, |config| {
        config.engine.settle_timeout_ms = 1_000;
        (guard.configure)(config);
    })
    .await;
    stock(&server.client, "a", 100).await;
    let unheard = unheard_order(&server, &proxy).await;
    proxy.set(Line::Down);
    let left = on_hand(&server);
    let refused = refusal(unheard.answer.await.unwrap());
    refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(!refused.retry_delay().is_zero());
    proxy.set(Line::Up);
    let request = one_unit(&unheard.request_id);
    let settled = server.client.retrying().create_order(&request).await;
    assert!(settled.unwrap().replayed, "it had been made");
    assert_eq!(level(&server.client, "a").await.on_hand, left, "sold once");
}

pub(super) async fn a_commit_that_arrives_after_it_was_given_up_changes_nothing(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let first = unheard_order(&server, &proxy).await;
    first.held.release(ON);
    first.answer.await.unwrap().unwrap();
    let left = on_hand(&server);

    let retrying = server.client.retrying();
    let request = one_unit("given-up");
    let mut held = proxy.arm(first.point, Place::Before, Action::Hold);
    let (made, ()) = tokio::join!(retrying.create_order(&request), held.struck());
    let made = made.unwrap();
    // The level that the commit was planned on has moved on twice.
    retrying.create_order(&one_unit("next")).await.unwrap();
    held.release(ON);
    let again = retrying.create_order(&request).await.unwrap();
    assert_eq!((again.replayed, &again.order), (true, &made.order));
    retrying.create_order(&one_unit("last")).await.unwrap();
    assert_eq!(level(&server.client, "a").await.on_hand, left - 3);
}
