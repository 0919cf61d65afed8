//! `stockroom products`: what is sold.

use std::process::ExitCode;

use super::address::Address;
use super::print::print;
use crate::client::proto::{ListProductsRequest, Product};
use crate::config::Config;

/// Products that are asked for at a time.
const PAGE_PRODUCTS: i32 = 1_000;

/// Show products
///
/// Prints a line for each product in the order of their SKUs by bytes: the SKU, the
/// units at or below which stock counts as low (0 means never), the units that orders may
/// take beyond what is there (0 means none), and the name.
///
/// Examples:
///
///   # All of them
///   stockroom products
///
///   # A family of products
///   stockroom products --sku-prefix 85
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ProductsArgs {
    /// Only SKUs that begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    sku_prefix: String,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(args: ProductsArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.address.connect(&config, 1).await?;
    let mut request = ListProductsRequest {
        page_size: PAGE_PRODUCTS,
        sku_prefix: args.sku_prefix,
        ..ListProductsRequest::default()
    };
    let mut lines = vec![row("SKU", "LOW AT", "BACKORDERS", "NAME")];
    loop {
        let page = client.list_products(request.clone()).await?;
        lines.extend(page.products.iter().map(line));
        request.page_token = page.next_page_token;
        if !print(lines)? || request.page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        lines = Vec::new();
    }
}

fn line(product: &Product) -> String {
    let low = product.low_stock_threshold.to_string();
    let limit = product.backorder_limit.to_string();
    row(&product.sku, &low, &limit, &product.display_name)
}

fn row(sku: &str, low: &str, limit: &str, name: &str) -> String {
    let line = format!("{sku:<16}  {low:>10}  {limit:>10}  {name}");
    line.trim_end().to_owned()
}
