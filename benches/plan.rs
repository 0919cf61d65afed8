//! How many orders a second planning alone takes: `plan` is the only part of a
//! commit that this program computes by itself, and every order waits for it.
//!
//! Batches of 1, 100 and 1,000 orders of one line for one product, of one line
//! over 10,000 products, and with the line counts of real invoices over 10,000
//! products. Everything is accepted; the time to free the plan is not counted.

#[path = "create_order/invoices.rs"]
mod invoices;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use rand::rngs::SmallRng;
use rand::seq::index;
use rand::{RngExt, SeedableRng};
use stockroom::domain::{
    LevelKey, LoadedLevel, Location, NewOrder, NewOrderLine, OrderId, Quantity, RequestId, Sku,
    StockLevel, Timestamp, Version,
};
use stockroom::engine::plan::{Events, Plan, Planner};
use stockroom::engine::{Command, Prepared};
use uuid::Uuid;

/// As in the program, whose speed this is about.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_ORDERS: [usize; 3] = [1, 100, 1_000];
const SPREAD_SKUS: usize = 10_000;

/// Every run plans the same orders.
const SEED: u64 = 2010;

/// What the orders of a batch look like.
struct Shape {
    name: &'static str,
    skus: usize,
    /// Each order draws one of these.
    line_counts: Vec<usize>,
}

fn main() -> anyhow::Result<()> {
    let shapes = [
        Shape {
            name: "hot",
            skus: 1,
            line_counts: vec![1],
        },
        Shape {
            name: "spread",
            skus: SPREAD_SKUS,
            line_counts: vec![1],
        },
        Shape {
            name: "baskets",
            skus: SPREAD_SKUS,
            line_counts: invoices::line_counts()?,
        },
    ];
    let mut criterion = Criterion::default().configure_from_args();
    for shape in &shapes {
        measure(&mut criterion, shape)?;
    }
    criterion.final_summary();
    Ok(())
}

fn measure(criterion: &mut Criterion, shape: &Shape) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group(format!("plan/{}", shape.name));
    for orders in BATCH_ORDERS {
        let batch = shape.batch(orders)?;
        let levels = levels_of(&batch);
        let now = Timestamp::from_us(1_291_191_960_000_000);
        let accepted = plan(&levels, &batch, now).writes.orders.len();
        anyhow::ensure!(
            accepted == orders,
            "{accepted} of {orders} orders were accepted"
        );

        group.throughput(Throughput::Elements(orders as u64));
        group.bench_function(BenchmarkId::from_parameter(orders), |bencher| {
            bencher.iter_with_large_drop(|| plan(black_box(&levels), black_box(&batch), now));
        });
    }
    group.finish();
    Ok(())
}

impl Shape {
    fn batch(&self, orders: usize) -> anyhow::Result<Vec<Prepared>> {
        let mut random = SmallRng::seed_from_u64(SEED);
        (0..orders)
            .map(|number| self.order(number, &mut random))
            .collect()
    }

    /// One order; its lines take one unit each, all of different products.
    fn order(&self, number: usize, random: &mut SmallRng) -> anyhow::Result<Prepared> {
        let lines = self.line_counts[random.random_range(0..self.line_counts.len())];
        let line = |sku| {
            let key = LevelKey {
                sku: Sku::new(format!("load-{sku:05}"))?,
                location: Location::new(Location::MAIN)?,
            };
            let quantity = Quantity::new(1)?;
            Ok(NewOrderLine { key, quantity })
        };
        let lines: anyhow::Result<_> = index::sample(random, self.skus, lines)
            .into_iter()
            .map(line)
            .collect();
        let order = NewOrder {
            order_id: OrderId(Uuid::from_u128(random.random())),
            request_id: RequestId::new(format!("plan-{number}"))?,
            lines: lines?,
            customer_ref: String::new(),
            labels: BTreeMap::new(),
            hold: None,
        };
        Ok(Command::CreateOrder(order).into())
    }
}

/// Plans `batch` as the engine does after a load.
fn plan(levels: &BTreeMap<LevelKey, LoadedLevel>, batch: &[Prepared], now: Timestamp) -> Plan {
    let mut planner = Planner::new(now, Arc::default(), Events::Off);
    for level in levels.values() {
        planner.know(level.clone());
    }
    let outcomes = batch.iter().map(|prepared| planner.command(prepared));
    let outcomes = outcomes.collect();
    planner.finish(outcomes).0
}

/// What storage would have read for `batch`: no request has been seen before,
/// and of everything there is enough.
fn levels_of(batch: &[Prepared]) -> BTreeMap<LevelKey, LoadedLevel> {
    let mut levels = BTreeMap::new();
    for prepared in batch {
        let Command::CreateOrder(order) = &prepared.command else {
            continue;
        };
        for line in &order.lines {
            let level = StockLevel {
                on_hand: 1_000_000_000,
                version: Version::new(1),
                ..StockLevel::none(line.key.clone())
            };
            let sku_known = true;
            levels.insert(line.key.clone(), LoadedLevel { level, sku_known });
        }
    }
    levels
}
