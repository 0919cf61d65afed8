//! Reading products, GetProduct and ListProducts.

use super::convert::Fields;
use super::page::{Tokens, page_size};
use crate::domain::{Product, Sku};
use crate::error::Error;
use crate::proto;
use crate::storage::Store;

pub(super) async fn get(
    store: &Store,
    request: &proto::GetProductRequest,
) -> Result<proto::GetProductResponse, Error> {
    let sku = named(&request.sku)?;
    let product = store.find_product(&sku).await?;
    let product = product.ok_or_else(|| Error::SkuNotFound(vec![sku]))?;
    Ok(proto::GetProductResponse {
        product: Some((&product).into()),
    })
}

/// The product that a request names in its field `sku`, and nothing else.
pub(super) fn named(sku: &str) -> Result<Sku, Error> {
    let mut fields = Fields::default();
    let sku = fields.take("sku", Sku::new(sku));
    fields.finish(sku)
}

pub(super) async fn list(
    store: &Store,
    request: &proto::ListProductsRequest,
) -> Result<proto::ListProductsResponse, Error> {
    let mut fields = Fields::default();
    let prefix = request.sku_prefix.as_str();
    let filters = proto::ListProductsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let tokens = Tokens::of("ListProducts", &filters);
    let size = page_size(&mut fields, request.page_size);
    fields.take("sku_prefix", Sku::check_prefix(prefix));
    let sku = |place: &str| Sku::new(place).ok();
    let after = tokens.place(&mut fields, &request.page_token, sku);
    let (size, after) = fields.finish(Some((size, after)))?;
    let found = store.list_products(after.as_ref(), prefix, size).await?;
    let next = found.products.last().filter(|_| found.more);
    Ok(proto::ListProductsResponse {
        next_page_token: next.map(|last| tokens.after(&last.sku)).unwrap_or_default(),
        products: found.products.iter().map(Into::into).collect(),
    })
}

impl From<&Product> for proto::Product {
    fn from(product: &Product) -> Self {
        Self {
            sku: product.sku.to_string(),
            display_name: product.display_name.clone(),
            low_stock_threshold: product.low_stock_threshold,
            backorder_limit: product.backorder_limit,
        }
    }
}
