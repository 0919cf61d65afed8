//! Reading products. (`stock` has what changes them.)

use stockroom::client::proto::{
    GetProductRequest, ListProductsRequest, Product, PutProductsRequest,
};
use tonic::Code;

use crate::api::{product, put, refusal};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    a_product_reads_as_it_was_put,
    pages_cover_every_product_once_while_others_are_put,
    products_can_be_cut_to_a_prefix,
    what_breaks_a_bound_is_named,
}

async fn a_product_reads_as_it_was_put(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let heart = Product {
        sku: "85123A".to_owned(),
        display_name: "WHITE HANGING HEART \"ü\"".to_owned(),
        low_stock_threshold: 10,
        backorder_limit: 7,
    };
    // Another one by its case.
    let products = vec![heart.clone(), product("85123a", 0)];
    let request = PutProductsRequest {
        products,
        ..Default::default()
    };
    server.client.put_products(request).await.unwrap();
    let get = |sku: &str| GetProductRequest {
        sku: sku.to_owned(),
    };
    let read = server.client.get_product(get("85123A")).await.unwrap();
    assert_eq!(read.product, Some(heart));
    let read = server.client.get_product(get("85123a")).await.unwrap();
    assert_eq!(read.product, Some(product("85123a", 0)));
    let refused = refusal(server.inventory().get_product(get("85123")).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    assert_eq!(refused.metadata("skus"), "85123");
    let resource = refused.details.resource_info().unwrap();
    assert_eq!(resource.resource_type, "stockroom.v1.Product");
}

/// Every product that `request` lists, in its order.
async fn list(server: &Stockroom, mut request: ListProductsRequest) -> Vec<String> {
    let mut listed = Vec::new();
    loop {
        let page = server.client.list_products(request.clone()).await.unwrap();
        listed.extend(page.products.into_iter().map(|product| product.sku));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return listed;
        }
    }
}

async fn pages_cover_every_product_once_while_others_are_put(store: StoreKind) {
    let server = Stockroom::start(store).await;
    // In byte order, which is not the order of a dictionary.
    let skus = ["-", "1", "10", "2", "A", "Z", "_", "a", "a-1", "a.1", "ab"];
    for sku in skus {
        put(&server.client, sku, 0).await;
    }
    let mut request = ListProductsRequest {
        page_size: 3,
        ..ListProductsRequest::default()
    };
    let (mut listed, mut others) = (Vec::new(), ["0", "B", "b"].into_iter());
    loop {
        let page = server.client.list_products(request.clone()).await.unwrap();
        assert!((1..=3).contains(&page.products.len()));
        listed.extend(page.products.into_iter().map(|product| product.sku));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        if let Some(other) = others.next() {
            put(&server.client, other, 0).await;
        }
    }
    assert!(listed.is_sorted_by(|a, b| a < b), "{listed:?}");
    listed.retain(|sku| skus.contains(&sku.as_str()));
    assert_eq!(listed, skus);
}

async fn products_can_be_cut_to_a_prefix(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["A", "A1", "A_3", "B", "a1"] {
        put(&server.client, sku, 0).await;
    }
    let of = |sku_prefix: &str| ListProductsRequest {
        page_size: 1,
        sku_prefix: sku_prefix.to_owned(),
        ..ListProductsRequest::default()
    };
    assert_eq!(list(&server, of("A")).await, ["A", "A1", "A_3"]);
    // `_` is a character of a SKU, not a wildcard.
    assert_eq!(list(&server, of("A_")).await, ["A_3"]);
    assert_eq!(list(&server, of("zz")).await, [""; 0]);
    assert_eq!(list(&server, of("")).await, ["A", "A1", "A_3", "B", "a1"]);
}

async fn what_breaks_a_bound_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["A", "B"] {
        put(&server.client, sku, 0).await;
    }
    let fields = async |page_size, sku_prefix: &str, page_token: &str| {
        let request = ListProductsRequest {
            page_size,
            page_token: page_token.to_owned(),
            sku_prefix: sku_prefix.to_owned(),
        };
        let refused = refusal(server.inventory().list_products(request).await);
        refused.is(Code::InvalidArgument, "INVALID_REQUEST");
        refused.fields().join(" ")
    };
    assert_eq!(
        fields(-1, "%", "???").await,
        "page_size sku_prefix page_token"
    );
    assert_eq!(fields(1_001, "", "").await, "page_size");
    let largest = ListProductsRequest {
        page_size: 1_000,
        ..ListProductsRequest::default()
    };
    let page = server.client.list_products(largest).await.unwrap();
    assert_eq!((page.products.len(), &*page.next_page_token), (2, ""));
    // A token belongs to the list that it was given for.
    let first = ListProductsRequest {
        page_size: 1,
        ..ListProductsRequest::default()
    };
    let page = server.client.list_products(first).await.unwrap();
    assert_eq!(fields(1, "A", &page.next_page_token).await, "page_token");
    let unnamed = GetProductRequest::default();
    let refused = refusal(server.inventory().get_product(unnamed).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["sku"]);
}
