//! `kill -9`: what was acknowledged is there, once, and the rest is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::chaos::{chance, rounds};
use crate::faults::callers::{Caller, Placed, open};
use crate::faults::reckoning::settle;
use crate::fixture::{Home, StoreKind, eventually};
use crate::process::Server;

on_each_store! {
    orders_acknowledged_before_ten_kills_are_there_once,
}

/// In each round.
const KILLS: usize = 10;
const CLIENTS: usize = 16;

async fn orders_acknowledged_before_ten_kills_are_there_once(store: StoreKind) {
    let mut chance = chance();
    // Each round on a store of its own: after a kill all of its rows are read.
    for _ in 0..rounds() {
        ten_kills(&Home::new(store), &mut chance).await;
    }
}

async fn ten_kills(home: &Arc<Home>, chance: &mut SmallRng) {
    let mut server = Server::start(Arc::clone(home)).await;
    let mut placed = open(&server.client().await).await;
    for kill in 0..KILLS {
        // At another point of some commit each time.
        let kill_after = 30 + 7 * kill;
        placed.extend(order_until_killed(server, kill, kill_after, chance).await);
        home.check_books();
        server = Server::start(Arc::clone(home)).await;
    }
    settle(&server.client().await, home, &placed).await;
}

/// Places orders, some of them on hold, from many clients until the server has been killed,
/// which happens after so many of them were answered.
async fn order_until_killed(
    server: Server,
    kill: usize,
    kill_after: usize,
    chance: &mut SmallRng,
) -> Vec<Placed> {
    let answered = AtomicUsize::new(0);
    let clients = join_all((0..CLIENTS).map(|_| server.client())).await;
    let ordering = join_all(clients.into_iter().enumerate().map(|(i, client)| {
        let (caller, answered) = (Caller::Hasty(client), &answered);
        let mut chance = SmallRng::from_rng(chance);
        async move {
            let mut placed: Vec<Placed> = Vec::new();
            // Until the connection is gone: what became of the last one is unknown.
            while placed.last().is_none_or(Placed::is_answered) {
                let request_id = format!("k{kill}-c{i}-{}", placed.len());
                placed.push(caller.place(&request_id, &mut chance).await);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            placed
        }
    }));
    let killing = async {
        eventually("orders are answered", async || {
            answered.load(Ordering::Relaxed) >= kill_after
        })
        .await;
        server.kill();
    };
    let (placed, ()) = tokio::join!(ordering, killing);
    placed.into_iter().flatten().collect()
}
