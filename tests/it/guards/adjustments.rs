//! Adjustments and products, while orders for the same levels run.

use futures_util::future::join_all;
use stockroom::client::proto::{AdjustStockRequest, ListStockRequest, PutProductsRequest};

use super::shop::{Cell, Shop};
use crate::api::{counted, level, order, product, put, received, stock};

/// Received, counted and ordered at once: the books, checked at the end, say that
/// each count found what the ledger says and that no movement was lost.
pub(super) async fn adjustments_that_race_with_orders_end_at_the_truth(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 1_000).await;
    let requests: Vec<_> = (0..60)
        .map(|i| order(&format!("o-{i}"), &[("a", 1)]))
        .collect();
    let adjusting = join_all((0..20).map(|i| {
        let client = shop.retrying(i / 2);
        let request = match i % 2 {
            0 => received(&format!("in-{i}"), "a", 5),
            _ => counted(&format!("count-{i}"), "a", 500 + i as i64),
        };
        async move { client.adjust_stock(&request).await }
    }));
    let (ordered, adjusted) = tokio::join!(shop.order_all(&requests), adjusting);
    assert!(ordered.iter().all(Result::is_ok), "{ordered:?}");
    let movements = adjusted.into_iter().map(|a| a.unwrap().movement.unwrap());
    let mut movements: Vec<_> = movements.collect();
    movements.sort_by_key(|movement| movement.version);
    for movement in &movements {
        let i: i64 = movement
            .request_id
            .rsplit('-')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        match i % 2 {
            0 => assert_eq!(movement.on_hand_delta, 5),
            _ => assert_eq!(movement.on_hand, 500 + i),
        }
    }
    // From the last of them on, only orders changed anything: one unit a version.
    let last = movements.last().unwrap();
    let left = level(shop.client(1), "a").await;
    assert_eq!(left.version, 1 + 60 + 20);
    assert_eq!(left.on_hand, last.on_hand - (left.version - last.version));
}

pub(super) async fn of_adjustments_that_expect_one_version_one_is_made(cell: Cell) {
    let shop = Shop::open(cell).await;
    put(shop.client(0), "a", 0).await;
    for version in 0..4 {
        let answers = join_all((0..8).map(|i| {
            let client = shop.retrying(i);
            let request = AdjustStockRequest {
                expected_version: Some(version),
                ..received(&format!("v{version}-{i}"), "a", 5)
            };
            async move { client.adjust_stock(&request).await }
        }))
        .await;
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        let reasons: Vec<&str> = refused.map(|e| e.reason.as_str()).collect();
        assert_eq!(reasons, ["VERSION_MISMATCH"; 7]);
    }
    let left = level(shop.client(1), "a").await;
    assert_eq!((left.on_hand, left.version), (20, 4));
}

pub(super) async fn first_stock_of_one_level_is_summed(cell: Cell) {
    let shop = Shop::open(cell).await;
    for round in 0..3 {
        let sku = format!("new-{round}");
        put(shop.client(0), &sku, 0).await;
        let answers = join_all((0..16).map(|i| {
            let client = shop.retrying(i);
            let request = received(&format!("{sku}-{i}"), &sku, 5);
            async move { client.adjust_stock(&request).await }
        }))
        .await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let level = level(shop.client(1), &sku).await;
        assert_eq!((level.on_hand, level.version), (80, 16));
    }
}

pub(super) async fn a_threshold_changed_under_load_is_the_one_of_every_level(cell: Cell) {
    const SHELVES: usize = 20;
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 10_000).await;
    let requests: Vec<_> = (0..60)
        .map(|i| order(&format!("o-{i}"), &[("a", 1)]))
        .collect();
    // New locations get their first level while the threshold of their SKU changes.
    let receiving = join_all((0..SHELVES).map(|i| {
        let mut request = received(&format!("to-{i}"), "a", 1);
        request.location = format!("shelf-{i}");
        let client = shop.retrying(i);
        async move { client.adjust_stock(&request).await }
    }));
    let changing = async {
        // Only under the last of them is every level low.
        for (i, threshold) in [5, 3, 0, 9, 0, 20_000].into_iter().enumerate() {
            let products = vec![product("a", threshold)];
            let request = PutProductsRequest { products };
            shop.retrying(i).put_products(&request).await.unwrap();
        }
    };
    let (sold, received, ()) = tokio::join!(shop.order_all(&requests), receiving, changing);
    assert!(sold.iter().all(Result::is_ok), "{sold:?}");
    assert!(received.iter().all(Result::is_ok), "{received:?}");
    let low = ListStockRequest {
        low_only: true,
        ..ListStockRequest::default()
    };
    let low = shop.client(0).list_stock(low).await.unwrap().levels;
    assert_eq!(low.len(), 1 + SHELVES);
}
