//! `stockroom order`: place an order.

use std::process::ExitCode;

use prost_types::Duration;

use super::orders;
use super::values::{labels, parse_duration, parse_label, parse_level};
use super::write::{WriteOptions, answered};
use crate::client::proto::{CreateOrderRequest, OrderLineRequest};
use crate::config::Config;

/// Place an order
///
/// Takes every line from stock, or none of them, and prints the order. It is safe to
/// repeat with the same --request-id: the repeat prints the order that the first one
/// made. Without one, an id is made, and passing failures are retried under it.
///
/// Examples:
///
///   # Six of one product, one of another at York
///   stockroom order 85123A=6 22423@york
///
///   # As a shop would: with its own key, its customer and labels
///   stockroom order 85123A=6 --request-id cart-4711 --customer-ref c-42 --label channel=web
///
///   # Reserve for a quarter of an hour; `stockroom confirm` takes it
///   stockroom order 85123A=6 --hold 15m
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct OrderArgs {
    /// What to take; the location is main and the quantity 1 unless given
    #[arg(value_name = "SKU[@LOCATION][=UNITS]", value_parser = parse_line, required = true)]
    lines: Vec<OrderLineRequest>,
    /// Your name for the customer
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    customer_ref: String,
    /// A label of the order; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Reserve for so long, such as 90s, 15m or 1h30m, instead of taking at once
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    hold: Option<Duration>,
    #[command(flatten)]
    write: WriteOptions,
}

fn parse_line(text: &str) -> Result<OrderLineRequest, String> {
    let (level, quantity) = text.split_once('=').unwrap_or((text, "1"));
    let quantity = quantity.parse();
    let quantity = quantity.map_err(|_| "write SKU[@LOCATION]=UNITS".to_owned())?;
    let Ok(key) = parse_level(level);
    Ok(OrderLineRequest {
        sku: key.sku,
        location: key.location,
        quantity,
    })
}

pub(super) async fn run(args: OrderArgs, config: Config) -> anyhow::Result<ExitCode> {
    let labels = labels(args.labels)?;
    let client = args.write.address.connect(&config, 1).await?;
    let request = CreateOrderRequest {
        request_id: args.write.request_id.unwrap_or_default(),
        lines: args.lines,
        customer_ref: args.customer_ref,
        labels,
        hold: args.hold,
        validate_only: args.write.validate_only,
    };
    let answer = client.retrying().create_order(&request).await;
    answered(
        answer.map(|it| (orders::whole(&it.order.unwrap_or_default()), it.replayed)),
        ": the order is not new",
    )
}

#[cfg(test)]
mod tests {
    use super::parse_line;

    #[test]
    fn a_line_names_a_level_and_maybe_units() {
        let line = |text| parse_line(text).map(|l| (l.sku, l.location, l.quantity));
        let expected = |sku: &str, location: &str, units| (sku.into(), location.into(), units);
        assert_eq!(line("a"), Ok(expected("a", "", 1)));
        assert_eq!(line("a=6"), Ok(expected("a", "", 6)));
        assert_eq!(line("a@york=6"), Ok(expected("a", "york", 6)));
        assert!(line("a=six").is_err());
    }
}
