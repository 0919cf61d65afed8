//! Who reads: callers that send their next read when the last one is answered.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use stockroom::client::proto::{GetStockRequest, ListStockRequest, ServedFrom};
use stockroom::client::{Client, ClientError};

/// Enough to keep two cores busy, whoever answers.
const CALLERS: usize = 64;

/// What they share.
pub(crate) const CONNECTIONS: usize = 4;

/// A page of ListStock at its largest.
const PAGE_LEVELS: i32 = 1_000;

/// Reads that were answered.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reads {
    pub(crate) all: u64,
    pub(crate) from_replicas: u64,
}

/// The SKUs that have stock.
pub(crate) async fn skus(client: &Client) -> Result<Vec<String>, ClientError> {
    let page = ListStockRequest {
        page_size: PAGE_LEVELS,
        ..ListStockRequest::default()
    };
    let levels = client.list_stock(page).await?.levels;
    Ok(levels.into_iter().map(|level| level.sku).collect())
}

/// Reads for so long, one level a call, at any version.
pub(crate) async fn read(
    client: &Client,
    skus: &[String],
    time: Duration,
) -> Result<Reads, ClientError> {
    let until = Instant::now() + time;
    let callers = (0..CALLERS).map(|caller| {
        let client = client.clone();
        // Each begins elsewhere and comes by all of them.
        let skus: Vec<String> = skus
            .iter()
            .cycle()
            .skip(caller * skus.len() / CALLERS)
            .take(skus.len())
            .cloned()
            .collect();
        tokio::spawn(async move {
            let mut reads = Reads::default();
            for sku in skus.iter().cycle() {
                if Instant::now() >= until {
                    break;
                }
                let request = GetStockRequest {
                    sku: sku.clone(),
                    min_version: Some(0),
                    ..GetStockRequest::default()
                };
                let answer = client.get_stock(request).await?;
                reads.all += 1;
                reads.from_replicas += u64::from(answer.served_from() == ServedFrom::Replica);
            }
            Ok::<_, ClientError>(reads)
        })
    });
    let mut sum = Reads::default();
    for reads in try_join_all(callers).await.expect("no caller panics") {
        let reads = reads?;
        sum.all += reads.all;
        sum.from_replicas += reads.from_replicas;
    }
    Ok(sum)
}
