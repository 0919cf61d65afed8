//! `stockroom orders`: read orders back.

use std::process::ExitCode;

use prost_types::Timestamp;

use super::address::Address;
use super::movements;
use super::print::{print, state, time};
use super::values::{labels, parse_label, parse_level};
use crate::client::Client;
use crate::client::proto::get_order_request::Key;
use crate::client::proto::{GetOrderRequest, ListOrdersRequest, Order, OrderState, StockKey};
use crate::config::Config;

/// Orders that are asked for at a time.
const PAGE_ORDERS: i32 = 500;

/// Show orders
///
/// Prints one order with its lines and what it changed, or a line for each order that
/// fits all filters, newest first.
///
/// Examples:
///
///   # One order, by its id or by a request that made or changed it
///   stockroom orders --id 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f
///   stockroom orders --request-id cart-4711
///
///   # The last ten of a customer
///   stockroom orders --customer-ref c-42 --limit 10
///
///   # What was taken on a day
///   stockroom orders --since 2026-11-25T00:00:00Z --until 2026-11-26T00:00:00Z
///
///   # What is held and not yet confirmed
///   stockroom orders --state pending
///
///   # Who took from a shelf, of those with a label
///   stockroom orders --level 85123A@york --label channel=web
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct OrdersArgs {
    /// Show the order with this id
    #[arg(long, value_name = "ID", conflicts_with_all = ["request_id", "state", "customer_ref", "labels", "level", "since", "until", "limit"])]
    id: Option<String>,
    /// Show the order that this request made or changed
    #[arg(long, value_name = "ID", conflicts_with_all = ["state", "customer_ref", "labels", "level", "since", "until", "limit"])]
    request_id: Option<String>,
    /// Only orders in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only orders of this customer
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    customer_ref: String,
    /// Only orders with this label; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Only orders that took from this level
    #[arg(long, value_name = "SKU[@LOCATION]", value_parser = parse_level)]
    level: Option<StockKey>,
    /// Only orders taken at this time or later, such as 2026-11-25T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only orders taken before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Show no more than so many
    #[arg(long, value_name = "ORDERS")]
    limit: Option<usize>,
    #[command(flatten)]
    address: Address,
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    /// Its units are held
    Pending,
    /// Its units have left the shelf
    Confirmed,
    /// Somebody took it back
    Cancelled,
    /// Its hold was over before anybody confirmed it
    Expired,
}

impl From<State> for OrderState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Confirmed => Self::Confirmed,
            State::Cancelled => Self::Cancelled,
            State::Expired => Self::Expired,
        }
    }
}

pub(super) async fn run(args: OrdersArgs, config: Config) -> anyhow::Result<ExitCode> {
    let labels = labels(args.labels)?;
    let client = args.address.connect(&config, 1).await?;
    let by_id = args.id.map(Key::OrderId);
    match by_id.or(args.request_id.map(Key::RequestId)) {
        Some(key) => show(&client, key).await?,
        None => {
            let state = args.state.map_or(OrderState::Unspecified, OrderState::from);
            let request = ListOrdersRequest {
                state: state.into(),
                customer_ref: args.customer_ref,
                labels,
                level: args.level,
                start_time: args.since,
                end_time: args.until,
                ..ListOrdersRequest::default()
            };
            list(&client, request, args.limit.unwrap_or(usize::MAX)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, key: Key) -> anyhow::Result<()> {
    let request = GetOrderRequest {
        key: Some(key),
        with_movements: true,
        ..GetOrderRequest::default()
    };
    let answer = client.get_order(request).await?;
    let mut lines = whole(&answer.order.unwrap_or_default());
    lines.push(String::new());
    lines.push(movements::header());
    lines.extend(answer.movements.iter().map(movements::line));
    print(lines)?;
    Ok(())
}

async fn list(client: &Client, mut request: ListOrdersRequest, limit: usize) -> anyhow::Result<()> {
    let mut left = limit;
    let mut lines = vec![row(
        ["ORDER", "CREATED", "STATE", "LINES", "UNITS"],
        "CUSTOMER",
    )];
    loop {
        request.page_size = PAGE_ORDERS.min(i32::try_from(left).unwrap_or(PAGE_ORDERS));
        let page = match left {
            0 => None,
            _ => Some(client.list_orders(request.clone()).await?),
        };
        let page = page.unwrap_or_default();
        left -= page.orders.len();
        lines.extend(page.orders.iter().map(line));
        request.page_token = page.next_page_token;
        if !print(lines)? || request.page_token.is_empty() {
            return Ok(());
        }
        lines = Vec::new();
    }
}

/// One order as a line.
fn line(order: &Order) -> String {
    let units: i64 = order.lines.iter().map(|line| line.quantity).sum();
    let (lines, units) = (order.lines.len().to_string(), units.to_string());
    let created = time(order.create_time.as_ref());
    row(
        [
            &order.order_id,
            &created,
            state(order.state()),
            &lines,
            &units,
        ],
        &order.customer_ref,
    )
}

fn row([id, created, state, lines, units]: [&str; 5], customer: &str) -> String {
    let line = format!("{id:<36}  {created:<27}  {state:<10}  {lines:>5}  {units:>9}  {customer}");
    line.trim_end().to_owned()
}

/// An order with all that it has, as lines.
pub(super) fn whole(order: &Order) -> Vec<String> {
    let created = time(order.create_time.as_ref());
    let mut lines = vec![
        format!("order      {}", order.order_id),
        format!("request    {}", order.request_id),
        format!("state      {}", state(order.state())),
        format!("created    {created}"),
    ];
    if order.version > 1 {
        lines.push(format!("changed    {}", time(order.update_time.as_ref())));
    }
    if order.expire_time.is_some() {
        lines.push(format!("held until {}", time(order.expire_time.as_ref())));
    }
    if !order.cancel_reason.is_empty() {
        lines.push(format!("reason     {}", order.cancel_reason));
    }
    if !order.customer_ref.is_empty() {
        lines.push(format!("customer   {}", order.customer_ref));
    }
    let labels = order.labels.iter();
    lines.extend(labels.map(|(key, value)| format!("label      {key}={value}")));
    for line in &order.lines {
        let (sku, location) = (&line.sku, &line.location);
        let (units, version) = (line.quantity, line.version);
        let mut text = format!("line       {sku}@{location}  {units}  version {version}");
        if line.backordered > 0 {
            text += &format!("  {} on backorder", line.backordered);
        }
        lines.push(text);
    }
    lines
}
