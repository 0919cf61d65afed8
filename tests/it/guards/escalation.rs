//! `optimistic` on two instances that sell the same product all the time.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use stockroom::config::LockingStrategy;

use super::shop::{Cell, Shop};
use crate::api::{order, stock};
use crate::fixture::{DEADLINE, StoreKind, eventually};
use crate::scrape::Scrape;

on_postgres! {
    instances_that_conflict_all_the_time_lock_for_a_while_and_both_sell,
}

/// On each instance.
const CALLERS: usize = 16;

/// Orders after which contention has been sustained.
const ORDERS_MIN: usize = 1_000;

/// Of orders that are answered, one in so many may be refused.
const REFUSED_ONE_IN: usize = 100;

/// Counted once, without the client's retries: the server's own must do.
async fn instances_that_conflict_all_the_time_lock_for_a_while_and_both_sell(_: StoreKind) {
    let shop = Shop::open(Cell::on_postgres(LockingStrategy::Optimistic).on_two_instances()).await;
    stock(shop.client(0), "hot", 1_000_000).await;
    let escalated = || {
        let counters = shop.servers.iter().map(|server| &server.counters.locks);
        counters.map(|locks| locks.escalations.get()).sum::<u64>() > 0
    };
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let deadline = std::time::Instant::now() + DEADLINE;
    let callers = join_all((0..2 * CALLERS).map(|caller| {
        let (shop, made, refused, escalated) = (&shop, &made, &refused, &escalated);
        async move {
            for i in 0.. {
                if made.load(Ordering::Relaxed) >= ORDERS_MIN && escalated() {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "nobody locks");
                let request = order(&format!("c{caller}-{i}"), &[("hot", 1)]);
                match shop.client(caller).create_order(request).await {
                    Ok(_) => made.fetch_add(1, Ordering::Relaxed),
                    Err(e) if e.reason == "STOCK_CONTENTION" => {
                        refused.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(e) => panic!("{e}"),
                };
            }
        }
    }));
    callers.await;
    let (made, refused) = (made.into_inner(), refused.into_inner());
    assert!(
        refused * REFUSED_ONE_IN <= made,
        "{refused} refused, {made} made"
    );
    let mut escalations = 0.0;
    for server in &shop.servers {
        let sold = server.counters.orders.accepted.get() as usize;
        assert!(sold * 10 > made, "{sold} of {made} are not a fair share");
        let scrape = Scrape::of(server.http).await;
        escalations += scrape.value("stockroom_lock_escalations_total");
    }
    assert!(escalations > 0.0);
    // Also where no batch comes that would see it.
    for server in &shop.servers {
        eventually("nobody locks any more", async || {
            let scrape = Scrape::of(server.http).await;
            scrape.value("stockroom_lock_escalated") == 0.0
        })
        .await;
    }
}
