//! What another instance does between two steps of this one. PostgreSQL only.

use std::sync::Arc;
use std::time::Duration;

use stockroom::client::proto::{AdjustStockRequest, CancelOrderResponse, CreateOrderResponse};
use stockroom::config::{Config, LockingStrategy};
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};

use crate::api::{cancel, confirm, counted, level, order, received, refusal, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually};
use crate::holding::{Hold, waiting_sessions};
use crate::holds::{hold, is_over};
use crate::proxy::{Action, Place, Proxy, Strike, behind_proxy};

on_postgres! {
    a_change_that_never_was_decides_nothing,
    a_hold_that_another_instance_ends_makes_no_order_fail,
    an_order_is_refused_only_for_what_was_so_at_some_moment,
}

/// Goes on at once.
const ON: Action = Action::Delay(Duration::ZERO);

/// Requests to the database that a write may take, and some that are nobody's.
const REQUESTS_MAX: usize = 12;

fn sweeps_hardly(config: &mut Config) {
    config.holds.sweep_interval_ms = 3_600_000;
    config.store.statement_timeout_ms = DEADLINE.as_millis() as u64;
}

/// Two instances on one database, the first one behind a proxy.
async fn two_instances(
    store: StoreKind,
    configure: impl FnOnce(&mut Config),
) -> (Stockroom, Proxy, Stockroom) {
    let home = Home::new(store);
    let there = Stockroom::on(Arc::clone(&home), sweeps_hardly).await;
    let (here, proxy) = behind_proxy(home, |config| {
        sweeps_hardly(config);
        configure(config);
    })
    .await;
    (here, proxy, there)
}

type Answer<T> = JoinHandle<Result<Response<T>, Status>>;

/// Places an order of one line.
fn place(server: &Stockroom, id: &str, sku: &str, units: i64) -> Answer<CreateOrderResponse> {
    let (mut orders, request) = (server.orders(), order(id, &[(sku, units)]));
    tokio::spawn(async move { orders.create_order(request).await })
}

fn cancel_order(server: &Stockroom, request_id: &str, id: &str) -> Answer<CancelOrderResponse> {
    let (mut orders, request) = (server.orders(), cancel(request_id, id));
    tokio::spawn(async move { orders.cancel_order(request).await })
}

/// Waits until so many writes wait in an instance, or are under way.
async fn wait_for_writes(server: &Stockroom, writes: i64) {
    let waiting = &server.counters.queue.orders;
    eventually("writes wait", async || waiting.get() == writes).await;
}

/// Waits until the fault strikes; false when the answer comes before.
async fn strikes<T>(strike: &Strike, answer: &JoinHandle<T>) -> bool {
    let decided = async || strike.has_struck() || answer.is_finished();
    eventually("it strikes, or the answer comes", decided).await;
    strike.has_struck()
}

/// An order's state that a commit was to make is no state when the commit fails: another
/// instance may have made another one of the same version.
async fn a_change_that_never_was_decides_nothing(store: StoreKind) {
    let home = Home::new(store);
    let here = Stockroom::on(Arc::clone(&home), sweeps_hardly).await;
    let there = Stockroom::on(Arc::clone(&home), sweeps_hardly).await;
    stock(&there.client, "a", 10).await;
    stock(&there.client, "z", 10).await;
    for sku in ["a", "z"] {
        // From now on it is remembered here, and planned on ahead.
        let sale = place(&here, &format!("sale-{sku}"), sku, 1);
        sale.await.unwrap().unwrap();
    }
    // The other instance alone knows what is left.
    let id = hold(&there.client, "held", &[("a", 4)], 600).await.order_id;
    let waiting = async |sessions| {
        eventually("sessions wait", async || {
            waiting_sessions(&home) == sessions
        })
        .await;
    };
    // Whoever waits first for the order's row gets it first.
    let locked = Hold::on_rows(&home, &format!("orders WHERE order_id = '{id}'")).await;
    let cancelled = cancel_order(&there, "first", &id);
    waiting(1).await;
    // While one is committed, two come that are committed together.
    let busy = Hold::on_rows(&home, "stock_level WHERE sku = 'z'").await;
    let other = place(&here, "other", "z", 1);
    waiting(2).await;
    let (mut orders, request) = (here.orders(), confirm("second", &id));
    let confirmed = tokio::spawn(async move { orders.confirm_order(request).await });
    let beside = place(&here, "beside", "a", 1);
    wait_for_writes(&here, 3).await;
    drop(busy);
    other.await.unwrap().unwrap();
    waiting(2).await;
    // Whoever cancels what is confirmed gets its units back on the shelf.
    let cancelled_again = cancel_order(&here, "third", &id);
    wait_for_writes(&here, 3).await;
    drop(locked);
    cancelled.await.unwrap().unwrap();
    let confirmed = confirmed.await.unwrap();
    refusal(confirmed).is(Code::FailedPrecondition, "ORDER_STATE");
    let cancelled_again = cancelled_again.await.unwrap();
    refusal(cancelled_again).is(Code::FailedPrecondition, "ORDER_STATE");
    beside.await.unwrap().unwrap();
    let left = level(&here.client, "a").await;
    assert_eq!((left.on_hand, left.reserved), (8, 0));
}

async fn a_hold_that_another_instance_ends_makes_no_order_fail(store: StoreKind) {
    let (here, proxy, there) = two_instances(store, |_| {}).await;
    stock(&there.client, "a", 100).await;
    let mut struck = 0;
    for point in 0..REQUESTS_MAX {
        let left = level(&there.client, "a").await;
        let all = [("a", left.on_hand - left.reserved)];
        let held = hold(&there.client, &format!("held-{point}"), &all, 1).await;
        is_over(&here.home, &held).await;
        let strike = proxy.arm(point, Place::Before, Action::Hold);
        let answer = place(&here, &format!("order-{point}"), "a", 1);
        if strikes(&strike, &answer).await {
            struck += 1;
            // Perhaps the order itself has ended it already.
            let ends = cancel(&format!("end-{point}"), &held.order_id);
            let _ = there.client.cancel_order(ends).await;
            strike.release(ON);
        }
        answer.await.unwrap().expect("nobody holds anything");
    }
    assert!(struck > 2, "{struck}");
}

async fn an_order_is_refused_only_for_what_was_so_at_some_moment(store: StoreKind) {
    let configure = |config: &mut Config| config.locking.strategy = LockingStrategy::Atomic;
    let (here, proxy, there) = two_instances(store, configure).await;
    stock(&there.client, "a", 5).await;
    stock(&there.client, "z", 100).await;
    let mut struck = 0;
    for point in 0..REQUESTS_MAX {
        let five = counted(&format!("five-{point}"), "a", 5);
        there.client.adjust_stock(five).await.unwrap();
        // While one is committed, two come that do not both fit.
        let busy = Hold::on_rows(&here.home, "stock_level WHERE sku = 'z'").await;
        let other = place(&here, &format!("other-{point}"), "z", 1);
        eventually("it waits", async || waiting_sessions(&here.home) == 1).await;
        let three = place(&here, &format!("three-{point}"), "a", 3);
        let four = place(&here, &format!("four-{point}"), "a", 4);
        wait_for_writes(&here, 3).await;
        let strike = proxy.arm(point, Place::Before, Action::Hold);
        drop(busy);
        let more = strikes(&strike, &four).await.then(|| {
            let more = received(&format!("more-{point}"), "a", 100);
            restock(&there, more)
        });
        let Some(more) = more else {
            other.await.unwrap().unwrap();
            let fitted = both(three, four).await.map(|(answer, _)| answer.is_some());
            assert_eq!(fitted.into_iter().filter(|fitted| *fitted).count(), 1);
            continue;
        };
        struck += 1;
        // It waits where the level is locked already.
        eventually("more is there, or waits", async || {
            more.is_finished() || waiting_sessions(&there.home) > 0
        })
        .await;
        strike.release(ON);
        let more = more.await.unwrap();
        other.await.unwrap().unwrap();
        for (answer, other) in both(three, four).await {
            let is_right = answer.is_some() || other < Some(more);
            assert!(is_right, "refused behind 100 more, at {point}");
        }
    }
    assert!(struck > 2, "{struck}");
}

/// The versions that two orders made, each with the other one's.
async fn both(
    one: Answer<CreateOrderResponse>,
    other: Answer<CreateOrderResponse>,
) -> [(Option<i64>, Option<i64>); 2] {
    let version = async |answer: Answer<CreateOrderResponse>| {
        let made = answer.await.unwrap().ok()?.into_inner().order.unwrap();
        Some(made.lines[0].version)
    };
    let (one, other) = (version(one).await, version(other).await);
    [(one, other), (other, one)]
}

/// The version that a receipt makes.
fn restock(server: &Stockroom, more: AdjustStockRequest) -> JoinHandle<i64> {
    let client = server.client.clone();
    tokio::spawn(async move {
        let made = client.retrying().adjust_stock(&more).await.unwrap();
        made.level.unwrap().version
    })
}
