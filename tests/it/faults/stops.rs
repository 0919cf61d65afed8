//! The database's processes end at once. (`crash` kills the server's.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt as _;
use tokio::task::spawn_blocking;
use tonic_health::pb::health_check_response::ServingStatus;

use super::Guard;
use super::callers::{open, place_orders, recovers};
use super::reckoning::settle;
use crate::chaos::{chance, rounds};
use crate::fixture::{Home, Stockroom, eventually};
use crate::servers::postgres::Server;

pub(super) async fn a_database_stopped_at_once_under_load_loses_no_order(guard: Guard) {
    let database = Server::start();
    let mut chance = chance();
    for _ in 0..rounds() {
        let server = Stockroom::on(Home::on(&database), |config| {
            config.store.acquire_timeout_ms = 500;
            (guard.configure)(config);
        })
        .await;
        let mut placed = open(&server.client).await;
        let some_orders = chance.random_range(1..100);
        let stopped = AtomicBool::new(false);
        let stopping = async {
            eventually("orders run", async || {
                server.counters.orders.accepted.get() >= some_orders
            })
            .await;
            on_a_thread(&database, Server::stop_at_once).await;
            stopped.store(true, Ordering::Relaxed);
            server.wait_for_health(ServingStatus::NotServing).await;
            on_a_thread(&database, Server::start_again).await;
            recovers(&server.client, "fresh").await
        };
        let has_stopped = || stopped.load(Ordering::Relaxed);
        let placing = place_orders(&server.client, &mut chance, has_stopped);
        let (more, fresh) = tokio::join!(placing, stopping);
        placed.push(fresh);
        placed.extend(more);
        server.wait_for_health(ServingStatus::Serving).await;
        server.home.check_no_transaction_was_forgotten();
        settle(&server.client, &server.home, &placed).await;
    }
}

/// Callers must go on meanwhile.
async fn on_a_thread(server: &Arc<Server>, work: fn(&Server)) {
    let server = Arc::clone(server);
    spawn_blocking(move || work(&server)).await.unwrap();
}
