//! `stockroom movements`: the ledger.

use std::process::ExitCode;

use prost_types::Timestamp;

use super::address::Address;
use super::print::{kind, print, time};
use super::values::parse_level;
use crate::client::proto::list_movements_request::Scope;
use crate::client::proto::{ListMovementsRequest, Movement, StockKey};
use crate::config::Config;

/// Movements that are asked for at a time.
const PAGE_MOVEMENTS: i32 = 1_000;

/// Show what changed stock, from the ledger
///
/// Prints a line for each change of a level, oldest first and none left out, for each
/// level that an order changed, or for each change of all levels, by time. To go on later,
/// give the last version of a level as --after.
///
/// Examples:
///
///   # The whole history of a level
///   stockroom movements 85123A
///
///   # What has happened at York since version 120
///   stockroom movements 22423@york --after 120
///
///   # What changed anywhere in an hour
///   stockroom movements --since 2026-11-25T08:00:00Z --until 2026-11-25T09:00:00Z
///
///   # What an order changed
///   stockroom movements --order 01937b5c-0a4e-7c31-9f5b-3f6f0c1d2e4f
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct MovementsArgs {
    /// The level; the location is main unless given
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level, required_unless_present_any = ["order", "since", "until"])]
    level: Option<StockKey>,
    /// Only changes above this version
    #[arg(
        long,
        value_name = "VERSION",
        default_value_t = 0,
        hide_default_value = true,
        allow_hyphen_values = true,
        conflicts_with = "order"
    )]
    after: i64,
    /// Only changes made at this time or later, such as 2026-11-25T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only changes made before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Show the changes of this order instead
    #[arg(long, value_name = "ID", conflicts_with_all = ["level", "since", "until"])]
    order: Option<String>,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(args: MovementsArgs, config: Config) -> anyhow::Result<ExitCode> {
    let client = args.address.connect(&config, 1).await?;
    let scope = args
        .level
        .map(Scope::Level)
        .or(args.order.map(Scope::OrderId));
    let mut request = ListMovementsRequest {
        page_size: PAGE_MOVEMENTS,
        scope,
        after_version: args.after,
        start_time: args.since,
        end_time: args.until,
        ..ListMovementsRequest::default()
    };
    let mut lines = vec![header()];
    loop {
        let page = client.list_movements(request.clone()).await?;
        lines.extend(page.movements.iter().map(line));
        request.page_token = page.next_page_token;
        if !print(lines)? || request.page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        lines = Vec::new();
    }
}

/// The names of the columns of [`line`].
pub(super) fn header() -> String {
    row(
        [
            "SKU", "LOCATION", "VERSION", "KIND", "CHANGE", "ON HAND", "HELD", "RESERVED",
        ],
        "TIME",
        "CAUSE",
    )
}

/// One movement as a line.
pub(super) fn line(movement: &Movement) -> String {
    let kind = kind(movement.kind());
    let version = movement.version.to_string();
    let change = format!("{:+}", movement.on_hand_delta);
    let on_hand = movement.on_hand.to_string();
    let held = format!("{:+}", movement.reserved_delta);
    let reserved = movement.reserved.to_string();
    let cause = match movement.order_id.as_str() {
        "" => movement.request_id.clone(),
        order => format!("order {order}"),
    };
    let cause = match &movement.counterpart {
        None => cause,
        Some(other) => {
            let way = if movement.on_hand_delta < 0 {
                "to"
            } else {
                "from"
            };
            format!(
                "{cause}  {way} {} version {}",
                other.location, other.version
            )
        }
    };
    let cause = match movement.note.as_str() {
        "" => cause,
        note => format!("{cause}  {note:?}"),
    };
    row(
        [
            &movement.sku,
            &movement.location,
            &version,
            kind,
            &change,
            &on_hand,
            &held,
            &reserved,
        ],
        &time(movement.create_time.as_ref()),
        &cause,
    )
}

fn row(
    [
        sku,
        location,
        version,
        kind,
        change,
        on_hand,
        held,
        reserved,
    ]: [&str; 8],
    time: &str,
    cause: &str,
) -> String {
    let line = format!(
        "{sku:<16}  {location:<10}  {version:>9}  {kind:<15}  {change:>10}  {on_hand:>10}  {held:>8}  {reserved:>8}  {time:<27}  {cause}"
    );
    line.trim_end().to_owned()
}
