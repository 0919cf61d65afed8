//! A commit whose outcome is not known is settled before anybody is answered.

use std::time::Duration;

use stockroom::client::proto::{CreateOrderRequest, CreateOrderResponse};
use stockroom::config::Config;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use crate::api::{level, order, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::proxy::{Action, Line, Place, Proxy, Strike, behind_proxy};

/// Requests to the database that one order on an idle server takes at most.
const REQUESTS_MAX: usize = 12;

/// What else a server asks its database now and then must not spoil a test.
const SWEEPS: usize = 3;

/// An answer that has not come after this is held back.
const ANSWER: Duration = Duration::from_millis(300);

/// An order that is made, and whose server waits to hear that.
struct Unheard {
    /// The commit is the request that so many others of the order precede.
    point: usize,
    request: CreateOrderRequest,
    answer: JoinHandle<Result<Response<CreateOrderResponse>, Status>>,
    held: Strike,
}

/// Sends orders one by one, each with another reply of the database held back,
/// until what is held back is the reply to a commit.
async fn unheard_commit(server: &Stockroom, proxy: &Proxy) -> Unheard {
    for attempt in 0..SWEEPS * REQUESTS_MAX {
        let request = order(&format!("attempt-{attempt}"), &[("a", 1)]);
        let point = attempt % REQUESTS_MAX;
        let mut held = proxy.arm(point, Place::AfterReply, Action::Hold);
        let mut answer = tokio::spawn({
            let (mut orders, request) = (server.orders(), request.clone());
            async move { orders.create_order(request).await }
        });
        tokio::select! {
            () = held.struck() => {}
            // The order takes fewer requests than are to pass.
            answer = &mut answer => {
                answer.unwrap().unwrap();
                continue;
            }
        }
        let made = "SELECT count(*) FROM orders WHERE request_id";
        let made = server
            .home
            .sql(&format!("{made} = '{}'", request.request_id));
        if made == "1" && timeout(ANSWER, &mut answer).await.is_err() {
            return Unheard {
                point,
                request,
                answer,
                held,
            };
        }
        held.release(Action::Delay(Duration::ZERO));
        if !answer.is_finished() {
            answer.await.unwrap().unwrap();
        }
    }
    panic!("no reply was the one to a commit");
}

pub(super) async fn an_order_whose_commit_went_unheard_is_answered_with_itself(
    configure: impl Fn(&mut Config),
) {
    let home = Home::new(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, configure).await;
    stock(&server.client, "a", 100).await;
    let unheard = unheard_commit(&server, &proxy).await;
    let on_hand = server.home.sql("SELECT on_hand FROM stock_level");
    unheard.held.release(Action::Reset);
    let answer = unheard.answer.await.unwrap();
    let answer = answer.expect("settled before it is answered").into_inner();
    let made = answer.order.as_ref().unwrap();
    assert_eq!(made.request_id, unheard.request.request_id);
    let again = server.client.create_order(unheard.request).await.unwrap();
    assert_eq!((again.replayed, &again.order), (true, &answer.order));
    let level = level(&server.client, "a").await;
    assert_eq!(level.on_hand.to_string(), on_hand, "sold once");
    assert!(!answer.replayed, "it is the first answer to this request");
}

pub(super) async fn an_order_that_cannot_be_settled_in_time_is_store_unavailable_and_settled_later(
    configure: impl Fn(&mut Config),
) {
    let home = Home::new(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, configure).await;
    stock(&server.client, "a", 100).await;
    let unheard = unheard_commit(&server, &proxy).await;
    let on_hand = server.home.sql("SELECT on_hand FROM stock_level");
    proxy.set(Line::Down);
    let refused = refusal(unheard.answer.await.unwrap());
    refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(!refused.retry_delay().is_zero());
    proxy.set(Line::Up);
    let retrying = server.client.retrying();
    let settled = retrying.create_order(&unheard.request).await.unwrap();
    assert!(settled.replayed, "it had been made");
    let level = level(&server.client, "a").await;
    assert_eq!(level.on_hand.to_string(), on_hand, "sold once");
}

pub(super) async fn a_commit_that_arrives_after_it_was_given_up_changes_nothing(
    configure: impl Fn(&mut Config),
) {
    let home = Home::new(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, configure).await;
    stock(&server.client, "a", 100).await;
    let Unheard {
        point,
        answer,
        held,
        ..
    } = unheard_commit(&server, &proxy).await;
    held.release(Action::Delay(Duration::ZERO));
    answer.await.unwrap().unwrap();
    let before = level(&server.client, "a").await.on_hand;

    let request = order("given-up", &[("a", 1)]);
    let mut held = proxy.arm(point, Place::Before, Action::Hold);
    let retrying = server.client.retrying();
    let (made, ()) = tokio::join!(retrying.create_order(&request), held.struck());
    let made = made.unwrap();
    // The level that the commit was planned on has moved on twice.
    let next = order("next", &[("a", 1)]);
    retrying.create_order(&next).await.unwrap();
    held.release(Action::Delay(Duration::ZERO));
    let again = retrying.create_order(&request).await.unwrap();
    assert_eq!((again.replayed, &again.order), (true, &made.order));
    let last = order("last", &[("a", 1)]);
    retrying.create_order(&last).await.unwrap();
    assert_eq!(level(&server.client, "a").await.on_hand, before - 3);
}
