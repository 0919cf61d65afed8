//! The network breaks at any point: before BEGIN, between statements, at COMMIT,
//! after it and before the answer.
//!
//! Points are counted and not named, so that the tests know nothing of the
//! statements that a commit is made of.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use stockroom::config::Config;
use tonic_health::pb::health_check_response::ServingStatus;

use super::callers::{open, place_orders, recovers};
use super::reckoning::settle;
use super::{Guard, patient};
use crate::chaos::{chance, rounds};
use crate::fixture::{Home, StoreKind, eventually, runtime};
use crate::proxy::{Action, Line, Place, behind_proxy};

/// Scenes of each round but the first, which has one for each request of a commit, from an
/// idle server on.
const SCENES: usize = 7;

/// Points that they choose from, from some order on.
const POINTS_MAX: usize = 14;
const ORDERS_BEFORE_MAX: u64 = 60;

/// A delay that a server sits out, in ms.
const SHORT_MS: Range<u64> = 10..400;

/// A delay after which a server of [`impatient`] has given the connection up and
/// done the work on another, in ms.
const LONG_MS: Range<u64> = 2_100..3_300;

/// As far away as the next region.
const ROUND_TRIP: Duration = Duration::from_millis(5);

pub(super) async fn connections_reset_before_a_request_lose_no_order(guard: Guard) {
    everywhere(guard, Place::Before, |_, _| Action::Reset);
}

pub(super) async fn connections_reset_after_a_reply_lose_no_order(guard: Guard) {
    everywhere(guard, Place::AfterReply, |_, _| Action::Reset);
}

pub(super) async fn a_network_that_falls_silent_before_a_request_loses_no_order(guard: Guard) {
    everywhere(guard, Place::Before, |_, _| Action::Swallow);
}

pub(super) async fn a_network_that_falls_silent_after_a_reply_loses_no_order(guard: Guard) {
    everywhere(guard, Place::AfterReply, |_, _| Action::Swallow);
}

pub(super) async fn requests_that_come_late_do_nothing_twice(guard: Guard) {
    everywhere(guard, Place::Before, some_delay);
}

pub(super) async fn replies_that_come_late_lose_no_order(guard: Guard) {
    everywhere(guard, Place::AfterReply, some_delay);
}

pub(super) async fn a_slow_network_costs_time_and_no_order(guard: Guard) {
    let home = Home::migrated(StoreKind::Postgres);
    let (server, proxy) = behind_proxy(home, guard.configure).await;
    let mut placed = open(&server.client).await;
    proxy.set(Line::delayed(ROUND_TRIP));
    let began = Instant::now();
    placed.push(recovers(&server.client, "fresh").await);
    assert!(began.elapsed() >= ROUND_TRIP, "{:?}", began.elapsed());
    placed.extend(place_orders(&server.client, &mut chance(), || true).await);
    proxy.set(Line::Up);
    settle(&server.client, &server.home, &placed).await;
}

/// Long ones but for the last scene.
fn some_delay(scenes_left: usize, chance: &mut SmallRng) -> Action {
    let range = if scenes_left > 0 { LONG_MS } else { SHORT_MS };
    Action::Delay(Duration::from_millis(chance.random_range(range)))
}

/// Gives a connection up after 2 s, which includes the second that a database
/// gets to keep its own timeouts.
fn impatient(config: &mut Config) {
    config.store.acquire_timeout_ms = 300;
    config.store.statement_timeout_ms = 700;
}

/// Breaks the network of one server at each of several points.
fn everywhere(guard: Guard, place: Place, action: impl Fn(usize, &mut SmallRng) -> Action) {
    let mut chance = chance();
    for round in 0..rounds() {
        // On threads of their own, because much of what a test does blocks.
        std::thread::scope(|threads| {
            let scenes = if round == 0 { guard.requests } else { SCENES };
            for number in 0..scenes {
                let mut chance = SmallRng::from_rng(&mut chance);
                let (orders_before, point) = match round {
                    0 => (0, number),
                    _ => (
                        chance.random_range(0..ORDERS_BEFORE_MAX),
                        chance.random_range(0..POINTS_MAX),
                    ),
                };
                let fault = Fault {
                    orders_before,
                    point,
                    place,
                    action: action(scenes - 1 - number, &mut chance),
                };
                println!("round {round}: {fault:?}");
                threads.spawn(move || runtime().block_on(scene(guard, fault, chance)));
            }
        });
    }
}

/// What breaks and when.
#[derive(Debug, Clone, Copy)]
struct Fault {
    orders_before: u64,
    /// Requests to the database after those orders and before the fault.
    point: usize,
    place: Place,
    action: Action,
}

/// Breaks the network once while callers place orders.
async fn scene(guard: Guard, fault: Fault, mut chance: SmallRng) {
    let home = Home::migrated(StoreKind::Postgres);
    let is_reset = fault.action == Action::Reset;
    let (server, proxy) = behind_proxy(home, |config| {
        let patience = if is_reset { patient } else { impatient };
        patience(config);
        (guard.configure)(config);
    })
    .await;
    let mut placed = open(&server.client).await;
    let waits_for_alarm = chance.random_bool(0.5);
    let broken = AtomicBool::new(false);
    let breaking = async {
        let orders = server.counters.orders.accepted.get() + fault.orders_before;
        eventually("orders run", async || {
            server.counters.orders.accepted.get() >= orders
        })
        .await;
        let mut strike = proxy.arm(fault.point, fault.place, fault.action);
        strike.struck().await;
        broken.store(true, Ordering::Relaxed);
        if fault.action == Action::Swallow {
            if waits_for_alarm {
                server.wait_for_health(ServingStatus::NotServing).await;
            }
            proxy.set(Line::Up);
        }
        let fresh = recovers(&server.client, "fresh").await;
        // What was delayed has arrived before the reckoning.
        strike.over().await;
        fresh
    };
    let has_broken = || broken.load(Ordering::Relaxed);
    let placing = place_orders(&server.client, &mut chance, has_broken);
    // In this order, so that a fault before any order is armed before any.
    let (fresh, more) = tokio::join!(biased; breaking, placing);
    placed.push(fresh);
    placed.extend(more);
    server.wait_for_health(ServingStatus::Serving).await;
    if is_reset {
        server.home.check_no_transaction_was_forgotten();
    }
    settle(&server.client, &server.home, &placed).await;
}
