//! Putting products, however many there are.

use anyhow::Context;

use super::progress::Progress;
use crate::client::Retrying;
use crate::client::proto::{Product, PutProductsRequest};

/// Products of one call; the API's bound.
const PRODUCTS_MAX: usize = 1_000;

/// Puts products, as many as one call takes at a time.
///
/// # Errors
/// They are refused, or the server could not be asked.
pub(super) async fn put_products(retrying: &Retrying, products: &[Product]) -> anyhow::Result<()> {
    let progress = Progress::start("products", products.len());
    for products in products.chunks(PRODUCTS_MAX) {
        let request = PutProductsRequest {
            products: products.to_vec(),
            ..PutProductsRequest::default()
        };
        retrying
            .put_products(&request)
            .await
            .context("cannot put the products")?;
        progress.advance(products.len());
    }
    progress.finish();
    Ok(())
}
