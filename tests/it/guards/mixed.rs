//! Instances with different guards on one database, as while a setting is rolled out
//! and whenever one instance locks and another does not yet.

use futures_util::future::join_all;
use stockroom::config::LockingStrategy::{Atomic, Optimistic, Pessimistic};

use super::shop::{Cell, Shop};
use crate::api::{level, order, put, received, stock};
use crate::fixture::StoreKind;

on_postgres! {
    optimistic_beside_pessimistic_shares_levels_without_deadlock,
    optimistic_beside_atomic_shares_levels_without_deadlock,
    pessimistic_beside_atomic_shares_levels_without_deadlock,
}

async fn optimistic_beside_pessimistic_shares_levels_without_deadlock(_: StoreKind) {
    share_levels(Cell::on_postgres(Optimistic).beside(Pessimistic)).await;
}

async fn optimistic_beside_atomic_shares_levels_without_deadlock(_: StoreKind) {
    share_levels(Cell::on_postgres(Optimistic).beside(Atomic)).await;
}

async fn pessimistic_beside_atomic_shares_levels_without_deadlock(_: StoreKind) {
    share_levels(Cell::on_postgres(Pessimistic).beside(Atomic)).await;
}

/// Sells from levels that both instances want while both give new levels their first
/// row, in the same batches.
async fn share_levels(cell: Cell) {
    const ROUNDS: usize = 10;
    let shop = Shop::open(cell).await;
    // In the order of the keys before, between and behind the new ones.
    let sold = ["a", "m", "z"];
    for sku in sold {
        stock(shop.client(0), sku, 10_000).await;
    }
    for round in 0..ROUNDS {
        let new = ["b", "y"].map(|sku| format!("{sku}{round}"));
        for sku in &new {
            put(shop.client(0), sku, 0).await;
        }
        let requests: Vec<_> = (0..16)
            .map(|i| order(&format!("o-{round}-{i}"), &sold.map(|sku| (sku, 1))))
            .collect();
        let receiving = join_all((0..8).map(|i| {
            let sku = &new[i / 2 % 2];
            let request = received(&format!("in-{sku}-{i}"), sku, 5);
            let client = shop.retrying(i);
            async move { client.adjust_stock(&request).await }
        }));
        let (ordered, received) = tokio::join!(shop.order_all(&requests), receiving);
        assert!(ordered.iter().all(Result::is_ok), "{ordered:?}");
        assert!(received.iter().all(Result::is_ok), "{received:?}");
        for sku in &new {
            let level = level(shop.client(1), sku).await;
            assert_eq!((level.on_hand, level.version), (20, 4));
        }
    }
    for sku in sold {
        let left = level(shop.client(1), sku).await.on_hand;
        assert_eq!(left, 10_000 - 16 * ROUNDS as i64);
    }
}
