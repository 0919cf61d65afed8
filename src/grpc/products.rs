//! Reading products, GetProduct and ListProducts, and which one to delete.

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
    let mut fields = Fields::default();
    let sku = fields.take("sku", Sku::new(request.sku.as_str()));
    let sku = fields.finish(sku)?;
    let product = store.find_product(&sku).await?;
    let product = product.ok_or_else(|| Error::SkuNotFound(vec![sku]))?;
    Ok(proto::GetProductResponse {
        product: Some((&product).into()),
    })
}

pub(super) fn deleted(request: &proto::DeleteProductRequest) -> Result<Sku, Error> {
    let mut fields = Fields::default();
    let sku = fields.take("sku", Sku::new(request.sku.as_str()));
    fields.finish(sku)
}

pub(super) async fn list(
    store: &Store,
    request: &proto::ListProductsRequest,
) -> Result<proto::ListProductsResponse, Error> {
    let mut fields = Fields::default();
    let prefix = request.sku_prefix.as_str();
    let filters = proto::ListProductsRequest {
        sku_prefix: prefix.to_owned(),
        ..proto::ListProductsRequest::default()
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
