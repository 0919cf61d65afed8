//! Adjustments and products, while orders for the same levels run.

use futures_util::future::join_all;
use stockroom::client::proto::{
    AdjustStockRequest, DeleteProductRequest, ListStockRequest, PutProductsRequest,
};

use super::shop::{Cell, Shop};
use crate::api::{batch_of, counted, level, order, product, put, received, stock, transfer};

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
            let request = PutProductsRequest {
                products,
                ..Default::default()
            };
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

/// While orders take from both sides. Each half is in the books, which say that they name
/// each other.
pub(super) async fn transfers_in_opposite_directions_lose_no_unit(cell: Cell) {
    const UNITS: i64 = 500;
    let shop = Shop::open(cell).await;
    for sku in ["a", "b"] {
        stock(shop.client(0), sku, UNITS).await;
        let mut york = received(&format!("york-{sku}"), sku, UNITS);
        york.location = "york".to_owned();
        shop.retrying(1).adjust_stock(&york).await.unwrap();
    }
    let requests: Vec<_> = (0..30)
        .map(|i| order(&format!("o-{i}"), &[("b", 1), ("a", 1)]))
        .collect();
    let moving = join_all((0..30).map(|i| {
        let (from, to) = match i % 3 {
            0 => ("main", "york"),
            1 => ("york", "main"),
            // Its level is new to most of them.
            _ => ("york", "attic"),
        };
        let lines = [("a", 3), ("b", 2)];
        let request = transfer(&format!("t-{i}"), from, to, &lines[..1 + i % 2]);
        let client = shop.retrying(i / 2);
        async move { client.transfer_stock(&request).await }
    }));
    let (sold, moved) = tokio::join!(shop.order_all(&requests), moving);
    assert!(sold.iter().all(Result::is_ok), "{sold:?}");
    assert!(moved.iter().all(Result::is_ok), "{moved:?}");
    let all = ListStockRequest::default();
    let levels = shop.client(1).list_stock(all).await.unwrap().levels;
    for sku in ["a", "b"] {
        let of_sku = levels.iter().filter(|level| level.sku == sku);
        assert_eq!(
            of_sku.map(|level| level.on_hand).sum::<i64>(),
            2 * UNITS - 30
        );
    }
}

/// Each batch takes 10 units of two levels, the second of which is short for most: what
/// the first ones of a refused batch would have done is nowhere.
pub(super) async fn batches_of_adjustments_are_made_whole_or_not_at_all(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 1_000).await;
    stock(shop.client(0), "b", 40).await;
    let answers = join_all((0..16).map(|i| {
        let client = shop.retrying(i);
        let request = batch_of(
            &format!("b-{i}"),
            [
                received("", "a", -20),
                received("", "b", -10),
                received("", "a", 10),
            ],
        );
        async move { client.batch_adjust_stock(&request).await }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let reasons = refused.into_iter().map(|r| r.unwrap_err().reason);
    assert!(reasons.into_iter().all(|r| r == "INSUFFICIENT_STOCK"));
    assert_eq!(made.len(), 4);
    for answer in made {
        let answer = answer.unwrap();
        let versions: Vec<_> = answer.movements.iter().map(|m| m.version).collect();
        assert_eq!(versions[2], versions[0] + 1, "in one transaction");
    }
    let (a, b) = (
        level(shop.client(1), "a").await,
        level(shop.client(1), "b").await,
    );
    assert_eq!((a.on_hand, a.version), (960, 9));
    assert_eq!((b.on_hand, b.version), (0, 5));
}

/// It comes and goes while goods come in and orders take them. The books say that no unit
/// lies on a level without a product, and that no version was used twice.
pub(super) async fn a_product_deleted_under_load_leaves_no_stock_behind(cell: Cell) {
    let shop = Shop::open(cell).await;
    put(shop.client(0), "a", 0).await;
    let deletion = || DeleteProductRequest {
        sku: "a".to_owned(),
        ..DeleteProductRequest::default()
    };
    let receiving = join_all((0..24).map(|i| {
        let client = shop.retrying(i);
        let mut request = received(&format!("in-{i}"), "a", 1);
        request.location = ["main", "york", "attic"][i % 3].to_owned();
        async move { client.adjust_stock(&request).await.map(drop) }
    }));
    let selling = join_all((0..24).map(|i| {
        let client = shop.retrying(i);
        let mut request = order(&format!("o-{i}"), &[("a", 1)]);
        request.lines[0].location = ["main", "york", "attic"][i % 3].to_owned();
        async move { client.create_order(&request).await.map(drop) }
    }));
    let coming_and_going = async {
        let mut refused = Vec::new();
        for i in 0..24 {
            let deleted = shop.client(i).delete_product(deletion()).await;
            refused.extend(deleted.err());
            let products = vec![product("a", i as i64 % 2)];
            let request = PutProductsRequest {
                products,
                ..PutProductsRequest::default()
            };
            shop.retrying(i).put_products(&request).await.unwrap();
        }
        refused
    };
    let (received, sold, refused) = tokio::join!(receiving, selling, coming_and_going);
    let refused = refused.into_iter();
    let others = received.into_iter().chain(sold).filter_map(Result::err);
    for error in refused.chain(others) {
        let expected = [
            "SKU_NOT_FOUND",
            "INSUFFICIENT_STOCK",
            "STOCK_REMAINS",
            "STOCK_CONTENTION",
        ];
        assert!(expected.contains(&&*error.reason), "{error:?}");
    }
}
