//! `stockroom delete-product`: take a product out of the catalogue.

use std::process::ExitCode;

use super::address::Address;
use super::print::print;
use crate::client::proto::DeleteProductRequest;
use crate::config::Config;

/// Delete a product that has no stock
///
/// Every level of it must be empty, at all locations, with nothing reserved; those that
/// are not are told, and nothing is changed. Its history stays, and so do the versions of
/// its levels: put again, with `stockroom import`, it goes on from there.
///
/// Examples:
///
///   # It is no longer sold
///   stockroom delete-product 85123A
///
///   # Could it be?
///   stockroom delete-product 85123A --validate-only
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DeleteProductArgs {
    /// The product
    #[arg(value_name = "SKU")]
    sku: String,
    /// Say what would become of it, and change nothing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(args: DeleteProductArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.address.connect(&config, 1).await?;
    let request = DeleteProductRequest {
        sku: args.sku,
        validate_only: args.validate_only,
    };
    client.retrying().delete_product(&request).await?;
    let DeleteProductRequest { sku, validate_only } = request;
    print([match validate_only {
        true => format!("{sku} can be deleted"),
        false => format!("{sku} is deleted"),
    }])?;
    Ok(ExitCode::SUCCESS)
}
