//! The limit itself: who sees it change, and when it cannot.

use futures_util::StreamExt as _;
use stockroom::client::WatchTargets;
use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{
    DeleteProductRequest, GetProductRequest, ListMovementsRequest, MovementKind, Product,
    PutProductsRequest, StockKey,
};
use tonic::Code;

use super::{limited, put_limited, stock_limited, units};
use crate::api::{level, order, product, put, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    a_limit_is_not_brought_below_what_is_on_backorder,
    watchers_see_a_limit_change_and_what_is_owed,
    a_new_level_gets_what_its_product_says_now,
    a_product_on_backorder_is_not_deleted_and_one_that_comes_back_has_its_new_limit,
}

fn a() -> StockKey {
    StockKey {
        sku: "a".to_owned(),
        location: String::new(),
    }
}

async fn a_limit_is_not_brought_below_what_is_on_backorder(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 1, 5).await;
    stock_limited(&server.client, "b", 1, 0).await;
    let mut owed = order("owed", &[("a", 4), ("a", 2)]);
    owed.lines[1].location = "york".to_owned();
    server.client.create_order(owed).await.unwrap();
    let mut request = PutProductsRequest {
        products: vec![limited("b", 9), limited("a", 1), product("new", 0)],
        ..PutProductsRequest::default()
    };
    for validate_only in [true, false] {
        request.validate_only = validate_only;
        let refused = refusal(server.inventory().put_products(request.clone()).await);
        refused.is(Code::FailedPrecondition, "BACKORDERS_REMAIN");
        let each = [
            ("a@main", "available -3, backorder_limit 1"),
            ("a@york", "available -2, backorder_limit 1"),
        ];
        assert_eq!(refused.unmet(), each);
        assert_eq!(refused.metadata("total"), "2");
        let said = "a@main has -3 available, below a backorder_limit of 1";
        assert!(refused.message.contains(said), "{}", refused.message);
    }
    // Nothing of the call has been done.
    let (a, b) = (
        level(&server.client, "a").await,
        level(&server.client, "b").await,
    );
    assert_eq!((a.version, a.backorder_limit), (2, 5));
    assert_eq!((b.version, b.backorder_limit), (1, 0));
    let new = GetProductRequest {
        sku: "new".to_owned(),
    };
    assert_eq!(
        server.client.get_product(new).await.unwrap_err().reason,
        "SKU_NOT_FOUND"
    );
    // As far down as it is used, and no further order fits.
    put_limited(&server.client, "a", 3).await;
    let more = server.client.create_order(order("more", &[("a", 1)])).await;
    assert_eq!(more.unwrap_err().reason, "INSUFFICIENT_STOCK");
    for (place, location) in ["", "york"].into_iter().enumerate() {
        let mut goods = received(&format!("goods-{place}"), "a", 3);
        goods.location = location.to_owned();
        server.client.adjust_stock(goods).await.unwrap();
    }
    put(&server.client, "a", 0).await;
    assert_eq!(units(&server.client, "a").await, (0, 0, 0));
    assert_eq!(level(&server.client, "a").await.backorder_limit, 0);
}

async fn watchers_see_a_limit_change_and_what_is_owed(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    let mut audited = server.client.watch(WatchTargets::all());
    let mut every = server
        .client
        .watch(WatchTargets::levels([a()]).every_change());
    let (mut levels, mut changes) = (audited.levels(), every.levels());
    let mut next = async || {
        let (level, change) = (levels.next().await, changes.next().await);
        let (level, change) = (level.unwrap().unwrap(), change.unwrap().unwrap());
        assert_eq!(
            (level.version, level.available),
            (change.version, change.available)
        );
        (level.version, level.available, level.backorder_limit)
    };
    assert_eq!(next().await, (1, 1, 0));
    // A threshold that changes with the limit makes no movement of its own.
    let both = Product {
        backorder_limit: 3,
        ..product("a", 7)
    };
    let both = PutProductsRequest {
        products: vec![both],
        ..PutProductsRequest::default()
    };
    server.client.put_products(both.clone()).await.unwrap();
    assert_eq!(next().await, (2, 1, 3));
    // The same again is none.
    let same = server.client.put_products(both).await.unwrap();
    assert_eq!((same.created, same.updated), (0, 0));
    server
        .client
        .create_order(order("owed", &[("a", 4)]))
        .await
        .unwrap();
    assert_eq!(next().await, (3, -3, 3));
    put_limited(&server.client, "a", 10).await;
    assert_eq!(next().await, (4, -3, 10));
    let movements = ListMovementsRequest {
        scope: Some(Scope::Level(a())),
        ..ListMovementsRequest::default()
    };
    let page = server.client.list_movements(movements).await.unwrap();
    let kinds: Vec<_> = page.movements.iter().map(|m| m.kind()).collect();
    let (threshold, ordered) = (MovementKind::Threshold, MovementKind::Ordered);
    assert_eq!(kinds[1..], [threshold, ordered, threshold]);
}

/// The engine remembers levels without a row as well, with what the product said then.
async fn a_new_level_gets_what_its_product_says_now(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    for limit in 1..4 {
        let mut request = order(&format!("too-much-{limit}"), &[("a", limit)]);
        let location = format!("shelf-{limit}");
        location.clone_into(&mut request.lines[0].location);
        let refused = server.client.create_order(request).await;
        assert_eq!(refused.unwrap_err().reason, "INSUFFICIENT_STOCK");
        let products = vec![Product {
            low_stock_threshold: limit,
            ..limited("a", limit)
        }];
        let request = PutProductsRequest {
            products,
            ..PutProductsRequest::default()
        };
        server.client.put_products(request).await.unwrap();
        let mut request = order(&format!("fits-{limit}"), &[("a", limit)]);
        location.clone_into(&mut request.lines[0].location);
        server
            .client
            .retrying()
            .create_order(&request)
            .await
            .unwrap();
    }
    // A receipt is planned on what is remembered, too.
    let mut receipt = received("receipt", "a", 5);
    receipt.location = "attic".to_owned();
    let mut none = order("none", &[("a", 100)]);
    none.lines[0].location = "attic".to_owned();
    server.client.create_order(none).await.unwrap_err();
    put_limited(&server.client, "a", 8).await;
    let made = server
        .client
        .retrying()
        .adjust_stock(&receipt)
        .await
        .unwrap();
    assert_eq!(made.level.unwrap().backorder_limit, 8);
    // The books compare each level with its product.
}

async fn a_product_on_backorder_is_not_deleted_and_one_that_comes_back_has_its_new_limit(
    store: StoreKind,
) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 1, 5).await;
    server
        .client
        .create_order(order("owed", &[("a", 3)]))
        .await
        .unwrap();
    let deletion = || DeleteProductRequest {
        sku: "a".to_owned(),
        ..DeleteProductRequest::default()
    };
    let refused = refusal(server.inventory().delete_product(deletion()).await);
    refused.is(Code::FailedPrecondition, "STOCK_REMAINS");
    assert_eq!(refused.unmet(), [("a@main", "on_hand -2, reserved 0")]);
    server
        .client
        .adjust_stock(received("goods", "a", 2))
        .await
        .unwrap();
    server.client.delete_product(deletion()).await.unwrap();
    put_limited(&server.client, "a", 2).await;
    let back = level(&server.client, "a").await;
    assert_eq!((back.version, back.backorder_limit), (5, 2));
    server
        .client
        .create_order(order("again", &[("a", 2)]))
        .await
        .unwrap();
    assert_eq!(units(&server.client, "a").await, (-2, 0, -2));
}
