//! `stockroom get`: what is in stock.

use std::process::ExitCode;

use super::address::Address;
use super::print::{print, time};
use super::values::parse_level;
use crate::client::proto::{BatchGetStockKey, BatchGetStockRequest, StockKey, StockLevel};
use crate::config::Config;

/// Show what is in stock
///
/// Prints a line for each level as the primary database has it now. A known SKU that
/// never had stock at the location has zeros and version 0. Behind a level whose stock is
/// low comes LOW, and behind one that orders may take below 0 how far.
///
/// Examples:
///
///   # One product at main
///   stockroom get 85123A
///
///   # Two products, one of them at another location
///   stockroom get 85123A 22423@york
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct GetArgs {
    /// Levels to show; the location is main unless given
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level, required = true)]
    levels: Vec<StockKey>,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(args: GetArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.address.connect(&config, 1).await?;
    let keys = args.levels.into_iter().map(|key| BatchGetStockKey {
        sku: key.sku,
        location: key.location,
        min_version: None,
    });
    let request = BatchGetStockRequest {
        keys: keys.collect(),
    };
    let answer = client.batch_get_stock(request).await?;
    print(table(&answer.levels))?;
    Ok(ExitCode::SUCCESS)
}

/// Levels as lines, under the names of their columns.
pub(super) fn table<'a>(levels: impl IntoIterator<Item = &'a StockLevel>) -> Vec<String> {
    let lines = levels.into_iter().map(line);
    std::iter::once(header()).chain(lines).collect()
}

/// The names of the columns of [`line`].
pub(super) fn header() -> String {
    row(
        [
            "SKU",
            "LOCATION",
            "ON HAND",
            "RESERVED",
            "AVAILABLE",
            "VERSION",
        ],
        "CHANGED",
    )
}

/// One level as a line.
pub(super) fn line(level: &StockLevel) -> String {
    let numbers = [
        level.on_hand,
        level.reserved,
        level.available,
        level.version,
    ];
    let [on_hand, reserved, available, version] = numbers.map(|number| number.to_string());
    let mut changed = time(level.update_time.as_ref());
    if level.low_stock {
        changed += "  LOW";
    }
    if level.backorder_limit > 0 {
        changed += &format!("  BACKORDERS TO {}", level.backorder_limit);
    }
    row(
        [
            &level.sku,
            &level.location,
            &on_hand,
            &reserved,
            &available,
            &version,
        ],
        &changed,
    )
}

fn row([sku, location, on_hand, reserved, available, version]: [&str; 6], changed: &str) -> String {
    format!(
        "{sku:<16}  {location:<10}  {on_hand:>10}  {reserved:>10}  {available:>10}  {version:>9}  {changed}"
    )
}
