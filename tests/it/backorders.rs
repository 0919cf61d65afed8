//! Backorders: orders take what is available below 0, to the product's limit and no
//! further, and nothing else does.

mod limits;
mod migration;
mod orders;
mod rollout;

use stockroom::client::Client;
use stockroom::client::proto::{Product, PutProductsRequest};

use crate::api::{level, product, received};

/// A product with a limit.
fn limited(sku: &str, backorder_limit: i64) -> Product {
    Product {
        backorder_limit,
        ..product(sku, 0)
    }
}

/// Puts a product with a limit.
pub(crate) async fn put_limited(client: &Client, sku: &str, backorder_limit: i64) {
    let request = PutProductsRequest {
        products: vec![limited(sku, backorder_limit)],
        ..PutProductsRequest::default()
    };
    client.retrying().put_products(&request).await.unwrap();
}

/// Puts a product with a limit and receives its first stock: version 1.
pub(crate) async fn stock_limited(client: &Client, sku: &str, units: i64, backorder_limit: i64) {
    put_limited(client, sku, backorder_limit).await;
    let request = received(&format!("opening-{sku}"), sku, units);
    client.adjust_stock(request).await.unwrap();
}

/// on_hand, reserved and available of the level at `main`.
async fn units(client: &Client, sku: &str) -> (i64, i64, i64) {
    let level = level(client, sku).await;
    (level.on_hand, level.reserved, level.available)
}
