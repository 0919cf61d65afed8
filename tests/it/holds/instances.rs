//! Holds on several instances.

use stockroom::client::proto::{Order, OrderState};

use super::{hold, read};
use crate::api::{level, order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, not_run};
use crate::process::Server;

on_postgres! {
    one_of_two_instances_sweeps,
    an_instance_whose_clock_is_an_hour_ahead_ends_no_hold_too_early,
}

/// The library that gives a process another time, unless it is not installed, which is
/// said aloud.
fn faketime() -> Option<String> {
    let found = std::env::var("STOCKROOM_TEST_FAKETIME").ok();
    if found.is_none() {
        not_run("by wrong clocks: libfaketime is not installed; `make test` installs it");
    }
    found
}

async fn an_instance_whose_clock_is_an_hour_ahead_ends_no_hold_too_early(store: StoreKind) {
    let Some(faketime) = faketime() else { return };
    let home = Home::new(store);
    let right = Server::start(home.clone()).await;
    let wrong = Server::start_ahead(home.clone(), &faketime, "+1h").await;
    let (right, wrong) = (right.client().await, wrong.client().await);
    stock(&right, "a", 10).await;
    let (of_right, of_wrong) = (
        hold(&right, "right", &[("a", 4)], 600).await,
        hold(&wrong, "wrong", &[("a", 4)], 600).await,
    );
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    let made = |order: &Order| seconds(order.create_time);
    assert!(
        made(&of_wrong) - made(&of_right) > 3_000,
        "the clock is wrong"
    );
    let expires = |order: &Order| seconds(order.expire_time);
    assert!((expires(&of_wrong) - expires(&of_right)).abs() < 60);
    // By the wrong clock both have long been over. Whoever is short looks for such.
    for client in [&right, &wrong] {
        let short = client.create_order(order("short", &[("a", 3)])).await;
        assert_eq!(short.unwrap_err().reason, "INSUFFICIENT_STOCK");
    }
    // What is over ends on either, so the sweeper has looked.
    let soon = hold(&wrong, "soon", &[("a", 1)], 1).await;
    eventually("the short hold has ended", async || {
        let order = read(&right, &soon.order_id).await.order.unwrap();
        order.state() == OrderState::Expired
    })
    .await;
    for held in [of_right, of_wrong] {
        let order = read(&right, &held.order_id).await.order.unwrap();
        assert_eq!(order.state(), OrderState::Pending);
    }
}

async fn one_of_two_instances_sweeps(store: StoreKind) {
    let home = Home::new(store);
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Stockroom::on(home.clone(), |c| c.holds.sweep_interval_ms = 10).await);
    }
    let sweeping = |servers: &[Stockroom]| -> i64 {
        servers
            .iter()
            .map(|server| server.counters.holds.sweeping.get())
            .sum()
    };
    eventually("one sweeps", async || sweeping(&servers) == 1).await;
    let place = servers
        .iter()
        .position(|server| server.counters.holds.sweeping.get() == 1);
    let mut leader = servers.remove(place.unwrap());
    leader.end().unwrap();
    eventually("the other takes over", async || sweeping(&servers) == 1).await;
    stock(&servers[0].client, "a", 10).await;
    hold(&servers[0].client, "hold", &[("a", 4)], 1).await;
    eventually("the hold has ended", async || {
        level(&servers[0].client, "a").await.reserved == 0
    })
    .await;
}
