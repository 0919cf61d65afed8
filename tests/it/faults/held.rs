//! As `settling`, of orders on hold: made, confirmed and cancelled, and ended because
//! somebody else needs what they reserve.

use futures_util::future::join_all;
use stockroom::client::proto::{CreateOrderRequest, Order, OrderState};
use stockroom::config::Config;
use stockroom::domain::{Timestamp, Transition};
use stockroom::telemetry::Counter;
use tokio::time::timeout;

use super::Guard;
use super::unheard::{ANSWER, ATTEMPTS_MAX, ON, SWEEPS, named, settled, shop};
use crate::api::{cancel, confirm, hold_of, level, order, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::holds::{hold, is_over, read};
use crate::proxy::{Action, Place, behind_proxy};

on_postgres! { an_order_that_is_settled_takes_back_what_is_over_by_then }

/// Longer than a test takes.
const HOLD_SECONDS: i64 = 3_600;

/// On hand and reserved, as the database has them.
const LEFT: &str = "SELECT on_hand || ' ' || reserved FROM stock_level";

/// The same, as callers see them.
async fn left(server: &Stockroom) -> String {
    let level = level(&server.client, "a").await;
    format!("{} {}", level.on_hand, level.reserved)
}

/// Orders in a state, as the database has them.
fn orders_in(server: &Stockroom, state: OrderState) -> String {
    let count = format!("SELECT count(*) FROM orders WHERE state = {}", state as i32);
    server.home.sql(&count)
}

/// An order on hold for each attempt that there may be.
async fn held_orders(server: &Stockroom) -> Vec<Order> {
    let holds = (0..ATTEMPTS_MAX).map(|i| async move {
        hold(
            &server.client,
            &format!("hold-{i}"),
            &[("a", 1)],
            HOLD_SECONDS,
        )
        .await
    });
    join_all(holds).await
}

/// What was answered with itself, and with itself once more when it was repeated, brought
/// one order into `state`, and was `counted` once.
fn is_answered_once(
    server: &Stockroom,
    [(is_replay, order), again]: [(bool, Option<Order>); 2],
    state: OrderState,
    counted: &Counter,
) {
    assert!(!is_replay, "it is the first answer to this request");
    assert_eq!(order.as_ref().unwrap().state(), state);
    assert_eq!(again, (true, order));
    let made = orders_in(server, state);
    assert_eq!(counted.get().to_string(), made, "counted once");
}

pub(super) async fn a_hold_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let request = |attempt| CreateOrderRequest {
        hold: Some(hold_of(HOLD_SECONDS)),
        ..order(&named(attempt), &[("a", 1)])
    };
    let send = |attempt| {
        let (mut orders, request) = (server.orders(), request(attempt));
        tokio::spawn(async move { orders.create_order(request).await })
    };
    let settled = settled(&server, &proxy, "orders", LEFT, send).await;
    let again = server.client.create_order(request(settled.attempt)).await;
    let answers = [settled.answer, again.unwrap()].map(|it| (it.replayed, it.order));
    let counted = &server.counters.orders.accepted;
    is_answered_once(&server, answers, OrderState::Pending, counted);
    assert_eq!(left(&server).await, settled.before, "reserved once");
}

pub(super) async fn a_confirmation_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let held = held_orders(&server).await;
    let request = |attempt: usize| confirm(&named(attempt), &held[attempt].order_id);
    let send = |attempt| {
        let (mut orders, request) = (server.orders(), request(attempt));
        tokio::spawn(async move { orders.confirm_order(request).await })
    };
    let settled = settled(&server, &proxy, "request", LEFT, send).await;
    let again = server.client.confirm_order(request(settled.attempt)).await;
    let answers = [settled.answer, again.unwrap()].map(|it| (it.replayed, it.order));
    let counted = server.counters.holds.of(&Transition::Confirm);
    is_answered_once(&server, answers, OrderState::Confirmed, counted);
    assert_eq!(left(&server).await, settled.before, "taken once");
}

pub(super) async fn a_cancellation_whose_commit_went_unheard_is_answered_with_itself(guard: Guard) {
    let (server, proxy) = shop(guard).await;
    let held = held_orders(&server).await;
    let request = |attempt: usize| cancel(&named(attempt), &held[attempt].order_id);
    let send = |attempt| {
        let (mut orders, request) = (server.orders(), request(attempt));
        tokio::spawn(async move { orders.cancel_order(request).await })
    };
    let settled = settled(&server, &proxy, "request", LEFT, send).await;
    let again = server.client.cancel_order(request(settled.attempt)).await;
    let answers = [settled.answer, again.unwrap()].map(|it| (it.replayed, it.order));
    let any_reason = Transition::Cancel {
        reason: String::new(),
        restock: false,
    };
    let counted = server.counters.holds.of(&any_reason);
    is_answered_once(&server, answers, OrderState::Cancelled, counted);
    assert_eq!(left(&server).await, settled.before, "given back once");
}

/// The commit of an order is lost. Until it is settled, somebody has held what it was to
/// take, and that hold is over.
async fn an_order_that_is_settled_takes_back_what_is_over_by_then(store: StoreKind) {
    let nobody_sweeps = |config: &mut Config| config.holds.sweep_interval_ms = 3_600_000;
    let (server, proxy) = behind_proxy(Home::migrated(store), |config| {
        // The commit is not given up before it is reset.
        config.store.statement_timeout_ms = 60_000;
        config.server.request_timeout_ms = 60_000;
        nobody_sweeps(config);
    })
    .await;
    let other = Stockroom::on(server.home.clone(), nobody_sweeps).await;
    let settled = &server.counters.commit.settled;
    for attempt in 0..SWEEPS {
        let sku = format!("a-{attempt}");
        stock(&server.client, &sku, 10).await;
        let mut lost = proxy.arm(0, Place::Before, Action::Hold);
        let request = order(&named(attempt), &[(&sku, 10)]);
        let mut orders = server.orders();
        let mut answer = tokio::spawn(async move { orders.create_order(request).await });
        lost.struck().await;
        if timeout(ANSWER, &mut answer).await.is_ok() {
            // What was held back was no part of the order.
            lost.release(ON);
            continue;
        }
        let held = hold(&other.client, &format!("hold-{attempt}"), &[(&sku, 5)], 1).await;
        is_over(&server.home, &held).await;
        lost.release(Action::Reset);
        let answer = answer.await.unwrap().unwrap().into_inner();
        assert!(!answer.replayed, "it is the first answer to this request");
        assert_eq!(settled.get(), 1);
        let held = read(&server.client, &held.order_id).await.order.unwrap();
        assert_eq!(held.state(), OrderState::Expired);
        let now = level(&server.client, &sku).await;
        assert_eq!((now.on_hand, now.reserved), (0, 0));
        let any_time = Transition::Expire(Timestamp::from_us(0));
        assert_eq!(server.counters.holds.of(&any_time).get(), 1);
        return;
    }
    panic!("what was held back was never a commit");
}
