//! Reads of stock: levels by name, and pages of them.

use stockroom::client::proto::{
    BatchGetStockKey, BatchGetStockRequest, GetStockRequest, ListStockRequest,
};
use tonic::Code;

use crate::api::{counted, level, order, put, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    a_known_sku_without_stock_reads_as_zeros,
    a_read_of_a_version_that_is_not_there_is_refused,
    levels_are_read_in_the_order_asked_for,
    pages_cover_every_level_once_while_orders_run,
    a_list_can_be_cut_to_a_prefix_and_to_low_stock,
}

async fn a_known_sku_without_stock_reads_as_zeros(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 7).await;
    let bare = level(&server.client, "a").await;
    assert_eq!((bare.on_hand, bare.available, bare.version), (0, 0, 0));
    assert_eq!((bare.low_stock, bare.update_time), (true, None));
    let refused = refusal(
        server
            .orders()
            .create_order(order("early", &[("a", 1)]))
            .await,
    );
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
}

async fn a_read_of_a_version_that_is_not_there_is_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let at_least = |min_version| GetStockRequest {
        sku: "a".to_owned(),
        min_version: Some(min_version),
        ..GetStockRequest::default()
    };
    for there in [0, 1] {
        server.client.get_stock(at_least(there)).await.unwrap();
    }
    let refused = refusal(server.inventory().get_stock(at_least(2)).await);
    refused.is(Code::FailedPrecondition, "VERSION_NOT_REACHED");
    assert_eq!(
        (refused.metadata("version"), refused.metadata("min_version")),
        ("1", "2")
    );
    let key = BatchGetStockKey {
        sku: "a".to_owned(),
        min_version: Some(9),
        ..BatchGetStockKey::default()
    };
    let batch = BatchGetStockRequest { keys: vec![key] };
    refusal(server.inventory().batch_get_stock(batch).await)
        .is(Code::FailedPrecondition, "VERSION_NOT_REACHED");
}

async fn levels_are_read_in_the_order_asked_for(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for (sku, units) in [("a", 1), ("B", 2), ("c", 3)] {
        stock(&server.client, sku, units).await;
    }
    let asked = ["c", "a", "B", "a"];
    let keys = asked.map(|sku| BatchGetStockKey {
        sku: sku.to_owned(),
        ..BatchGetStockKey::default()
    });
    let request = BatchGetStockRequest { keys: keys.into() };
    let levels = server.client.batch_get_stock(request).await.unwrap().levels;
    let read: Vec<_> = levels.iter().map(|l| (l.sku.as_str(), l.on_hand)).collect();
    assert_eq!(read, [("c", 3), ("a", 1), ("B", 2), ("a", 1)]);
}

async fn pages_cover_every_level_once_while_orders_run(store: StoreKind) {
    let server = Stockroom::start(store).await;
    // In byte order, which is not the order of a dictionary.
    let skus = [
        "-", "1", "10", "2", "A", "B", "Z", "_", "a", "a-1", "a.1", "ab", "b",
    ];
    for sku in skus {
        stock(&server.client, sku, 100).await;
    }
    let mut request = ListStockRequest {
        page_size: 3,
        ..ListStockRequest::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = server.client.list_stock(request.clone()).await.unwrap();
        assert!(page.levels.len() <= 3);
        listed.extend(page.levels.into_iter().map(|level| level.sku));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let sold = skus.map(|sku| (sku, 1));
        let id = format!("between-pages-{}", listed.len());
        server.client.create_order(order(&id, &sold)).await.unwrap();
    }
    assert_eq!(listed, skus);
}

async fn a_list_can_be_cut_to_a_prefix_and_to_low_stock(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for (sku, units, threshold) in [
        ("A1", 5, 5),
        ("A2", 6, 5),
        ("A_3", 1, 0),
        ("a1", 1, 9),
        ("B", 1, 9),
        ("A", 0, 0),
    ] {
        put(&server.client, sku, threshold).await;
        server
            .client
            .adjust_stock(counted(&format!("c-{sku}"), sku, units))
            .await
            .unwrap();
    }
    let list = async |sku_prefix: &str, low_only| {
        let request = ListStockRequest {
            sku_prefix: sku_prefix.to_owned(),
            low_only,
            ..ListStockRequest::default()
        };
        let levels = server.client.list_stock(request).await.unwrap().levels;
        levels
            .into_iter()
            .map(|level| level.sku)
            .collect::<Vec<_>>()
    };
    assert_eq!(list("", false).await, ["A", "A1", "A2", "A_3", "B", "a1"]);
    assert_eq!(list("A", false).await, ["A", "A1", "A2", "A_3"]);
    // `_` is a character of a SKU, not a wildcard.
    assert_eq!(list("A_", false).await, ["A_3"]);
    assert_eq!(list("", true).await, ["A1", "B", "a1"]);
    assert_eq!(list("A", true).await, ["A1"]);
    assert_eq!(list("zz", false).await, [""; 0]);
    // A token belongs to the request that it was given for.
    let first = ListStockRequest {
        page_size: 1,
        ..ListStockRequest::default()
    };
    let page_token = server
        .client
        .list_stock(first)
        .await
        .unwrap()
        .next_page_token;
    let other = ListStockRequest {
        page_token,
        low_only: true,
        ..ListStockRequest::default()
    };
    let refused = refusal(server.inventory().list_stock(other).await);
    assert_eq!(
        refused
            .is(Code::InvalidArgument, "INVALID_REQUEST")
            .fields(),
        ["page_token"]
    );
}
