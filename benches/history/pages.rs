//! Pages of every list, each with its place in a history: what is asked for, and how long
//! the answers take as a caller sees it.

use std::time::Instant;

use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{ListMovementsRequest, ListOrdersRequest, StockKey};
use stockroom::client::{Client, ClientError};

use crate::fill::time_of;
use crate::slower::of_the_slower;

/// Rows of a page, the default.
const PAGE: i32 = 100;

/// Calls of each of two pages of a list.
const CALLS: usize = 101;

/// The list of the level that one in ten orders is of …
pub(crate) const LONGEST: &str = "movements of the longest level";

/// … and its middle.
pub(crate) const LONGEST_MIDDLE: &str = "movements of the longest level from its middle";

/// A page to ask for.
pub(crate) enum Page {
    Orders(ListOrdersRequest),
    Movements(ListMovementsRequest),
}

impl Page {
    async fn ask(&mut self, client: &Client, goes_on: bool) -> Result<usize, ClientError> {
        Ok(match self {
            Self::Orders(request) => {
                let page = client.list_orders(request.clone()).await?;
                if goes_on {
                    request.page_token = page.next_page_token;
                }
                page.orders.len()
            }
            Self::Movements(request) => {
                let page = client.list_movements(request.clone()).await?;
                if goes_on {
                    request.page_token = page.next_page_token;
                }
                page.movements.len()
            }
        })
    }
}

fn level(sku: &str) -> StockKey {
    StockKey {
        sku: sku.to_owned(),
        ..StockKey::default()
    }
}

/// Every page that is measured, in a history of so many orders.
pub(crate) fn pages(orders: u64, order_id: &str) -> Vec<(&'static str, Page)> {
    let movements = of_movements(orders, order_id).into_iter();
    let movements = movements.map(|(list, request)| (list, Page::Movements(request)));
    let orders = of_orders(orders).into_iter();
    let orders = orders.map(|(list, request)| (list, Page::Orders(request)));
    movements.chain(orders).collect()
}

fn of_movements(orders: u64, order_id: &str) -> Vec<(&'static str, ListMovementsRequest)> {
    let movements = |scope, after_version, start_time| ListMovementsRequest {
        page_size: PAGE,
        scope,
        after_version,
        start_time,
        ..ListMovementsRequest::default()
    };
    let of = |sku| Some(Scope::Level(level(sku)));
    let middle = Some(time_of(orders / 2));
    let long = (orders / 20) as i64;
    let of_order = Some(Scope::OrderId(order_id.to_owned()));
    vec![
        (
            "movements of a level with 10",
            movements(of("load-01000"), 0, None),
        ),
        (LONGEST, movements(of("load-00000"), 0, None)),
        (LONGEST_MIDDLE, movements(of("load-00000"), long, None)),
        (
            "movements of the longest level from a time",
            movements(of("load-00000"), 0, middle),
        ),
        ("movements of an order", movements(of_order, 0, None)),
        ("movements of all levels", movements(None, 0, None)),
        (
            "movements of all levels from a time",
            movements(None, 0, middle),
        ),
    ]
}

fn of_orders(orders: u64) -> Vec<(&'static str, ListOrdersRequest)> {
    let all = ListOrdersRequest {
        page_size: PAGE,
        ..ListOrdersRequest::default()
    };
    let labelled = |key: &str, value: &str| ListOrdersRequest {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..all.clone()
    };
    let customer = |name: &str| ListOrdersRequest {
        customer_ref: name.to_owned(),
        ..all.clone()
    };
    let of_level = |sku| ListOrdersRequest {
        level: Some(level(sku)),
        ..all.clone()
    };
    let from_middle = ListOrdersRequest {
        end_time: Some(time_of(orders / 2)),
        ..all.clone()
    };
    vec![
        ("orders", all.clone()),
        ("orders before a time", from_middle),
        ("orders of a customer with one in ten", customer("often")),
        ("orders of a customer with few", customer("rare")),
        (
            "orders with a label that one in four has",
            labelled("channel", "web"),
        ),
        (
            "orders with a label that few have",
            labelled("campaign", "rare"),
        ),
        ("orders of the longest level", of_level("load-00000")),
        (
            "orders of a level with 10 movements",
            of_level("load-01000"),
        ),
    ]
}

/// A page and the one after it, by its token, in ms: the median and the 99th percentile of
/// the slower one; and how many rows the first has.
pub(crate) async fn measure(client: &Client, page: &mut Page) -> Result<[f64; 3], ClientError> {
    // Into the caches, as a page that people look at is.
    let rows = page.ask(client, false).await?;
    let first = times(client, page).await?;
    page.ask(client, true).await?;
    let second = times(client, page).await?;
    let [p50, p99] = of_the_slower([first, second]);
    Ok([p50, p99, rows as f64])
}

/// How long calls of one page take, in ms.
async fn times(client: &Client, page: &mut Page) -> Result<Vec<f64>, ClientError> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        page.ask(client, false).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
