//! Four times as many orders as units, all at once, for one product.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use crate::cli::latency::Latencies;
use crate::cli::progress::Progress;
use crate::client::proto::{
    AdjustStockRequest, CreateOrderRequest, MovementKind, OrderLineRequest,
    adjust_stock_request::Change,
};
use crate::client::{Client, Retrying};

/// Units on the shelf when the sale begins.
pub(super) const UNITS: u64 = 5_000;

/// Orders of one unit each.
pub(super) const ORDERS: u64 = 20_000;

/// Callers that place them, each its next when it has the answer.
pub(super) const CALLERS: usize = 256;

/// What became of the sale, as its callers were told.
#[derive(Debug)]
pub(super) struct Sale {
    /// The product.
    pub(super) sku: String,
    /// The ids of the orders that were accepted: as many as units sold, unless
    /// one order was answered to two callers.
    pub(super) orders: HashSet<String>,
    /// Answers that accepted an order.
    pub(super) accepted: u64,
    /// Refusals by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// From sending an order to its answer, retries included.
    pub(super) latencies: Latencies,
    /// From the first order to the last answer.
    pub(super) took: Duration,
}

impl Sale {
    fn new(sku: &str) -> Self {
        Self {
            sku: sku.to_owned(),
            orders: HashSet::new(),
            accepted: 0,
            refused: BTreeMap::new(),
            latencies: Latencies::new(),
            took: Duration::ZERO,
        }
    }

    fn add(&mut self, other: Self) {
        self.orders.extend(other.orders);
        self.accepted += other.accepted;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.latencies.add(&other.latencies);
    }

    /// Whether every unit was sold once and every other order refused for that.
    pub(super) fn adds_up(&self) -> bool {
        let sold_out = BTreeMap::from([("INSUFFICIENT_STOCK".to_owned(), ORDERS - UNITS)]);
        self.accepted == UNITS && self.orders.len() as u64 == UNITS && self.refused == sold_out
    }
}

/// Counts the product to exactly [`UNITS`] and sells it.
pub(super) async fn run(client: &Client, sku: &str) -> anyhow::Result<Sale> {
    let retrying = client.retrying();
    let count = AdjustStockRequest {
        request_id: "flash-sale:count".to_owned(),
        sku: sku.to_owned(),
        change: Some(Change::SetOnHand(UNITS as i64)),
        kind: MovementKind::Count.into(),
        note: "counted for the flash sale".to_owned(),
        ..AdjustStockRequest::default()
    };
    retrying
        .adjust_stock(&count)
        .await
        .context("cannot count the stock")?;

    let queue = Arc::new(Queue {
        next: AtomicU64::new(0),
        progress: Progress::start("flash sale", ORDERS as usize),
    });
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(retrying.clone(), Arc::clone(&queue), Sale::new(sku)));
    }
    let mut sale = Sale::new(sku);
    while let Some(part) = callers.join_next().await {
        sale.add(part??);
    }
    sale.took = started.elapsed();
    queue.progress.finish();
    Ok(sale)
}

/// The orders that the callers share.
struct Queue {
    /// The number of the next order that nobody has taken.
    next: AtomicU64,
    progress: Progress,
}

async fn caller(retrying: Retrying, queue: Arc<Queue>, mut sale: Sale) -> anyhow::Result<Sale> {
    loop {
        let number = queue.next.fetch_add(1, Ordering::Relaxed);
        if number >= ORDERS {
            return Ok(sale);
        }
        let order = CreateOrderRequest {
            request_id: format!("flash-sale:{number}"),
            lines: vec![OrderLineRequest {
                sku: sale.sku.clone(),
                location: String::new(),
                quantity: 1,
            }],
            ..CreateOrderRequest::default()
        };
        let started = Instant::now();
        let answer = retrying.create_order(&order).await;
        sale.latencies.record(started.elapsed());
        match answer {
            Ok(response) => {
                sale.accepted += 1;
                sale.orders
                    .extend(response.order.map(|order| order.order_id));
            }
            Err(error) if error.is_refusal() => {
                *sale.refused.entry(error.label().to_owned()).or_default() += 1;
            }
            Err(error) => return Err(error).context("the flash sale stopped"),
        }
        queue.progress.advance(1);
    }
}
