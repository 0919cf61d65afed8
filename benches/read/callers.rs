//! Who calls: each sends its next call when the last one is answered. The same callers
//! for the echo and for what is held against it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use stockroom::client::proto::{CreateOrderRequest, GetStockRequest, OrderLineRequest, ServedFrom};
use stockroom::client::{Client, ClientError};
use uuid::Uuid;

/// As in the other benches: enough to keep two cores busy, whoever answers.
pub(crate) const MANY: usize = 1_024;

/// Enough for the same where each call takes a connection to a database.
pub(crate) const FEW: usize = 64;

/// What they share.
pub(crate) const CONNECTIONS: usize = 8;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// GetStock of any version.
    Any,
    /// GetStock from the primary.
    Primary,
    /// CreateOrder of what is sold out.
    SoldOut,
}

/// Calls that were answered as they should be.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) all: u64,
    pub(crate) from_cache: u64,
    pub(crate) from_replicas: u64,
}

/// Calls for so long, each caller about SKUs in turn.
pub(crate) async fn call(
    client: &Client,
    skus: &[String],
    what: Call,
    callers: usize,
    time: Duration,
) -> Result<Calls, ClientError> {
    let until = Instant::now() + time;
    let callers = (0..callers).map(|caller| {
        let client = client.clone();
        let skus: Vec<String> = skus
            .iter()
            .cycle()
            .skip(caller % skus.len())
            .take(skus.len())
            .cloned()
            .collect();
        tokio::spawn(async move {
            let mut calls = Calls::default();
            for sku in skus.iter().cycle() {
                if Instant::now() >= until {
                    break;
                }
                let source = once(&client, sku, what).await?;
                calls.all += 1;
                calls.from_cache += u64::from(source == ServedFrom::Cache);
                calls.from_replicas += u64::from(source == ServedFrom::Replica);
            }
            Ok::<_, ClientError>(calls)
        })
    });
    let mut sum = Calls::default();
    for calls in try_join_all(callers).await.expect("no caller panics") {
        let calls = calls?;
        sum.all += calls.all;
        sum.from_cache += calls.from_cache;
        sum.from_replicas += calls.from_replicas;
    }
    Ok(sum)
}

/// Where the answer came from, as far as it says so.
async fn once(client: &Client, sku: &str, what: Call) -> Result<ServedFrom, ClientError> {
    if what == Call::SoldOut {
        let request = CreateOrderRequest {
            request_id: Uuid::now_v7().to_string(),
            lines: vec![OrderLineRequest {
                sku: sku.to_owned(),
                quantity: 1,
                ..OrderLineRequest::default()
            }],
            ..CreateOrderRequest::default()
        };
        return match client.create_order(request).await {
            Err(error) if error.reason == "INSUFFICIENT_STOCK" => Ok(ServedFrom::Unspecified),
            Err(error) => Err(error),
            Ok(answer) => panic!("what is sold out was sold: {answer:?}"),
        };
    }
    let request = GetStockRequest {
        sku: sku.to_owned(),
        min_version: (what == Call::Any).then_some(0),
        ..GetStockRequest::default()
    };
    Ok(client.get_stock(request).await?.served_from())
}
