//! Products and stock for a load.

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::mix::Mix;
use crate::cli::progress::Progress;
use crate::cli::put_products::put_products;
use crate::client::proto::{
    AdjustStockRequest, MovementKind, Product, adjust_stock_request::Change,
};
use crate::client::{Client, Retrying};

/// Units of each product: more than any load sells, and a thousandth of what a
/// level may hold, so that a thousand runs fit in one store.
const UNITS: i64 = 1_000_000_000;

/// Receipts under way at the same time.
const IN_FLIGHT: usize = 256;

/// Puts every product of `mix` and receives stock of it.
pub(super) async fn stock_up(client: &Client, mix: &Mix) -> anyhow::Result<()> {
    let retrying = client.retrying();
    let product = |sku: &String| Product {
        sku: sku.clone(),
        display_name: "made by stockroom load".to_owned(),
        ..Product::default()
    };
    let products: Vec<Product> = mix.skus().iter().map(product).collect();
    put_products(&retrying, &products).await?;
    let run = Uuid::now_v7().simple();
    let progress = Progress::start("receiving stock", mix.skus().len());
    stream::iter(mix.skus())
        .map(|sku| receive(&retrying, sku, format!("receive-{run}-{sku}")))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(async |()| {
            progress.advance(1);
            Ok(())
        })
        .await?;
    progress.finish();
    Ok(())
}

async fn receive(retrying: &Retrying, sku: &str, request_id: String) -> anyhow::Result<()> {
    let request = AdjustStockRequest {
        request_id,
        sku: sku.to_owned(),
        change: Some(Change::Delta(UNITS)),
        kind: MovementKind::Received.into(),
        ..AdjustStockRequest::default()
    };
    let received = retrying.adjust_stock(&request).await;
    received.with_context(|| format!("cannot receive stock of {sku}"))?;
    Ok(())
}
