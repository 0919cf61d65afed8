//! `validate_only`: what a write would be answered with, while nothing is written.

use stockroom::client::proto::{
    BatchAdjustStockRequest, CountStockRequest, PutProductsRequest, StockLevel,
};
use tonic::Code;

use crate::api::{batch_of, level, order, product, received, refusal, stock, transfer};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    an_order_is_answered_as_it_would_be_and_not_made,
    adjustments_are_answered_as_they_would_be_and_not_made,
    products_are_told_apart_and_not_put,
    what_would_be_refused_is_refused,
    a_request_that_was_answered_is_answered_as_its_repeat,
}

/// A level without its time.
fn timeless(level: Option<StockLevel>) -> StockLevel {
    StockLevel {
        update_time: None,
        ..level.unwrap()
    }
}

async fn an_order_is_answered_as_it_would_be_and_not_made(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut request = order("cart", &[("a", 4), ("a", 6)]);
    request.validate_only = true;
    for _ in 0..2 {
        let told = server.client.create_order(request.clone()).await.unwrap();
        let told_order = told.order.unwrap();
        assert_eq!((told.replayed, &*told_order.order_id), (false, ""));
        assert_eq!(told_order.lines[1].version, 2);
    }
    assert_eq!(level(&server.client, "a").await.version, 1);
    assert_eq!(server.home.books().orders, 0);
    // The id is free, and the same request is made in earnest as it was foretold.
    let told = server.client.create_order(request.clone()).await.unwrap();
    request.validate_only = false;
    let made = server.client.create_order(request).await.unwrap();
    assert!(!made.replayed);
    assert_eq!(made.order.unwrap().lines, told.order.unwrap().lines);
}

async fn adjustments_are_answered_as_they_would_be_and_not_made(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut single = received("single", "a", 5);
    let mut batch = batch_of("batch", [received("", "a", 5), received("", "a", -7)]);
    let mut moved = transfer("moved", "main", "york", &[("a", 3)]);
    let mut counted = CountStockRequest {
        request_id: "counted".to_owned(),
        sku: "a".to_owned(),
        on_hand: 7,
        expected_version: Some(1),
        validate_only: true,
        ..CountStockRequest::default()
    };
    single.validate_only = true;
    batch.validate_only = true;
    moved.validate_only = true;
    let client = &server.client;
    let told_single = client.adjust_stock(single.clone()).await.unwrap();
    assert_eq!(told_single.movement.unwrap().version, 2);
    let told_batch = client.batch_adjust_stock(batch.clone()).await.unwrap();
    assert_eq!(told_batch.movements[1].on_hand, 8);
    let told_moved = client.transfer_stock(moved.clone()).await.unwrap();
    assert_eq!(told_moved.levels.len(), 2);
    let told_count = client.count_stock(counted.clone()).await.unwrap();
    assert_eq!(server.home.books().movements, 1);
    assert_eq!(level(client, "a").await.version, 1);
    counted.validate_only = false;
    let made = client.count_stock(counted).await.unwrap();
    assert!(!made.replayed);
    assert_eq!(timeless(made.level), timeless(told_count.level));
    single.validate_only = false;
    assert!(!client.adjust_stock(single).await.unwrap().replayed);
    batch.validate_only = false;
    assert!(!client.batch_adjust_stock(batch).await.unwrap().replayed);
    moved.validate_only = false;
    assert!(!client.transfer_stock(moved).await.unwrap().replayed);
}

async fn products_are_told_apart_and_not_put(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let request = PutProductsRequest {
        products: vec![product("a", 5), product("b", 0)],
        validate_only: true,
    };
    let told = server.client.put_products(request).await.unwrap();
    assert_eq!((told.created, told.updated), (1, 1));
    assert_eq!(level(&server.client, "a").await.version, 1);
    let unknown = refusal(server.orders().create_order(order("o", &[("b", 1)])).await);
    unknown.is(Code::NotFound, "SKU_NOT_FOUND");
}

async fn what_would_be_refused_is_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut request = order("cart", &[("a", 11)]);
    request.validate_only = true;
    let refused = refusal(server.orders().create_order(request.clone()).await);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    request.lines[0].sku = "unknown".to_owned();
    let refused = refusal(server.orders().create_order(request.clone()).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    request.lines.clear();
    let refused = refusal(server.orders().create_order(request).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    let reused = BatchAdjustStockRequest {
        validate_only: true,
        ..batch_of("opening-a", [received("", "a", 1)])
    };
    let refused = refusal(server.inventory().batch_adjust_stock(reused).await);
    refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    let mut stale = received("stale", "a", 1);
    (stale.expected_version, stale.validate_only) = (Some(9), true);
    let refused = refusal(server.inventory().adjust_stock(stale).await);
    refused.is(Code::Aborted, "VERSION_MISMATCH");
}

async fn a_request_that_was_answered_is_answered_as_its_repeat(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut request = order("cart", &[("a", 10)]);
    let made = server.client.create_order(request.clone()).await.unwrap();
    request.validate_only = true;
    let told = server.client.create_order(request).await.unwrap();
    assert_eq!((told.replayed, told.order), (true, made.order));
    let mut moved = received("opening-a", "a", 10);
    moved.validate_only = true;
    let told = server.client.adjust_stock(moved).await.unwrap();
    assert!(told.replayed);
    assert_eq!(told.level.unwrap().on_hand, 0);
}
