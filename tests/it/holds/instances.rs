//! Holds on several instances.

use stockroom::client::proto::{Order, OrderState};

use super::{hold, read};
use crate::api::{level, order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, not_run};
use crate::process::Server;
use crate::proxy::{Line, Proxy};
use crate::scrape::Scrape;

on_postgres! {
    one_of_two_instances_sweeps,
    who_leads_and_cannot_look_says_so_once_and_is_no_sweeper,
    who_cannot_ask_who_leads_or_measure_the_outbox_says_so_once,
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
    let wrong = Server::start_ahead(home.clone(), &faketime, "+1h").await;
    let http = wrong.http().await;
    // It is there first, and who sweeps goes on.
    eventually("the wrong one sweeps", async || {
        Scrape::of(http).await.value("stockroom_sweeper_active") == 1.0
    })
    .await;
    let right = Server::start(home.clone()).await;
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

async fn who_leads_and_cannot_look_says_so_once_and_is_no_sweeper(store: StoreKind) {
    let home = Home::new(store);
    let often = ["--set", "holds.sweep_interval_ms=10"];
    let server = Server::start_with(home.clone(), &often).await;
    let http = server.http().await;
    let sweeping = async || Scrape::of(http).await.value("stockroom_sweeper_active");
    let said = || {
        let log = server.log();
        log.matches("cannot look for holds that are over").count()
    };
    for _ in 0..2 {
        let before = said();
        eventually("it sweeps", async || sweeping().await == 1.0).await;
        home.sql("ALTER TABLE hold_deadline RENAME TO gone");
        eventually("it does not", async || sweeping().await == 0.0).await;
        eventually("it says so", async || said() > before).await;
        home.sql("ALTER TABLE gone RENAME TO hold_deadline");
        eventually("it does again", async || sweeping().await == 1.0).await;
        assert_eq!(said(), before + 1, "once");
    }
}

async fn who_cannot_ask_who_leads_or_measure_the_outbox_says_so_once(store: StoreKind) {
    let home = Home::migrated(store);
    let proxy = Proxy::before_database_of(&home).await;
    proxy.set(Line::Down);
    // Who relays is asked for as well.
    let nobody = ["--set", "events.brokers=127.0.0.1:1"];
    let server = Server::spawn_at(home.clone(), &proxy.url(&home), &nobody);
    let said = || {
        let log = server.log();
        let of = |what: &str| log.matches(what).count();
        ["cannot ask who leads", "the outbox cannot be measured"].map(of)
    };
    eventually("it says so", async || said() == [2, 1]).await;
    proxy.set(Line::Up);
    let http = server.http().await;
    eventually("it sweeps", async || {
        Scrape::of(http).await.value("stockroom_sweeper_active") == 1.0
    })
    .await;
    assert_eq!(said(), [2, 1]);
}
