//! Holds: each ends once, and an expired one is in nobody's way, under every guard.

use futures_util::future::join_all;
use stockroom::client::proto::{CreateOrderRequest, Order, OrderState};

use super::shop::{Cell, Shop};
use crate::api::{cancel, confirm, extend, hold_of, level, order, stock};
use crate::holds::is_over;

/// An order that reserves.
async fn hold(shop: &Shop, request_id: &str, lines: &[(&str, i64)], seconds: i64) -> Order {
    let request = CreateOrderRequest {
        hold: Some(hold_of(seconds)),
        ..order(request_id, lines)
    };
    let made = shop.retrying(0).create_order(&request).await.unwrap();
    made.order.unwrap()
}

pub(super) async fn of_all_who_end_one_order_one_does(cell: Cell) {
    const ORDERS: usize = 8;
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    stock(shop.client(0), "b", 100).await;
    let mut orders = Vec::new();
    for i in 0..ORDERS {
        let lines: &[_] = if i % 2 == 0 {
            &[("a", 2)]
        } else {
            &[("b", 1), ("a", 1)]
        };
        orders.push(hold(&shop, &format!("hold-{i}"), lines, 600).await.order_id);
    }
    let callers = (0..64).map(|i| {
        let (shop, order_id) = (&shop, &orders[i % ORDERS]);
        async move {
            let client = shop.retrying(i / ORDERS);
            let request_id = format!("end-{i}");
            if (i / ORDERS).is_multiple_of(3) {
                let request = confirm(&request_id, order_id);
                client.confirm_order(&request).await.map(|a| a.order)
            } else {
                let request = cancel(&request_id, order_id);
                client.cancel_order(&request).await.map(|a| a.order)
            }
        }
    });
    let answers = join_all(callers).await;
    let mut confirmed = (0, 0);
    for (i, order_id) in orders.iter().enumerate() {
        let of_order = answers.iter().skip(i).step_by(ORDERS);
        let (ended, refused): (Vec<_>, Vec<_>) = of_order.partition(|answer| answer.is_ok());
        // Whoever confirmed first may have been cancelled since.
        let states = ended.iter().map(|answer| {
            let order = answer.as_ref().unwrap().as_ref().unwrap();
            assert_eq!(&order.order_id, order_id);
            order.state()
        });
        let states: Vec<OrderState> = states.collect();
        let confirms = states
            .iter()
            .filter(|s| **s == OrderState::Confirmed)
            .count();
        let cancels = states
            .iter()
            .filter(|s| **s == OrderState::Cancelled)
            .count();
        assert!(confirms <= 1 && cancels == 1, "{states:?}");
        for answer in refused {
            assert_eq!(answer.as_ref().unwrap_err().reason, "ORDER_STATE");
        }
        confirmed.0 += confirms;
        confirmed.1 += cancels;
    }
    assert_eq!(confirmed.1, ORDERS);
    // Everything has come back, however it went.
    for sku in ["a", "b"] {
        let left = level(shop.client(1), sku).await;
        assert_eq!((left.on_hand, left.reserved), (100, 0), "{sku}");
    }
}

pub(super) async fn an_expired_hold_never_makes_an_order_fail(cell: Cell) {
    let shop = Shop::open_with(cell, |config| {
        config.holds.sweep_interval_ms = 3_600_000;
    })
    .await;
    stock(shop.client(0), "a", 10).await;
    stock(shop.client(0), "b", 10).await;
    // Some of them hold what nobody asks for as well.
    let mut last = None;
    for i in 0..10 {
        let lines: &[_] = if i % 2 == 0 {
            &[("a", 1)]
        } else {
            &[("a", 1), ("b", 1)]
        };
        last = Some(hold(&shop, &format!("hold-{i}"), lines, 1).await);
    }
    let early = order("early", &[("a", 1)]);
    is_over(&shop.home, &last.unwrap()).await;
    let made = shop.retrying(1).create_order(&early).await.unwrap();
    assert!(!made.replayed);
    let wide = order("wide", &[("a", 9), ("b", 10)]);
    shop.retrying(0).create_order(&wide).await.unwrap();
    for sku in ["a", "b"] {
        let left = level(shop.client(1), sku).await;
        assert_eq!((left.on_hand, left.reserved), (0, 0), "{sku}");
    }
}

pub(super) async fn a_change_that_is_repeated_is_made_once(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 10).await;
    let held = hold(&shop, "hold", &[("a", 4)], 60).await;
    let id = &held.order_id;
    for replayed in [false, true, true] {
        let i = usize::from(replayed);
        let extended = shop
            .retrying(i)
            .extend_hold(&extend("longer", id, 600))
            .await;
        let extended = extended.unwrap();
        assert_eq!(extended.replayed, replayed);
        assert!(
            extended.order.unwrap().expire_time.unwrap().seconds
                > held.expire_time.unwrap().seconds + 500
        );
    }
    for replayed in [false, true, true] {
        let i = usize::from(replayed);
        let confirmed = shop
            .retrying(i)
            .confirm_order(&confirm("taken", id))
            .await
            .unwrap();
        let order = confirmed.order.unwrap();
        assert_eq!(
            (confirmed.replayed, order.state()),
            (replayed, OrderState::Confirmed)
        );
        assert_eq!(
            (order.version, order.expire_time, order.lines[0].version),
            (3, None, 3)
        );
    }
    let left = level(shop.client(1), "a").await;
    assert_eq!((left.on_hand, left.reserved, left.version), (6, 0, 3));
    let reused = shop
        .client(1)
        .cancel_order(cancel("taken", id))
        .await
        .unwrap_err();
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
}
