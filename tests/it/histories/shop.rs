//! A shop that is always open: orders, restocks, changed thresholds and limits, at
//! whichever servers there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use stockroom::client::proto::adjust_stock_request::Change;
use stockroom::client::proto::{
    AdjustStockRequest, CreateOrderRequest, MovementKind, Order, OrderLineRequest, Product,
    PutProductsRequest,
};
use stockroom::client::{Client, ClientError};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{cancel, confirm, hold_of, product};
use crate::fixture::eventually;

/// What is sold. Two prefixes; one of them is the other's beginning.
pub(crate) const SKUS: [&str; 8] = ["85-a", "85-b", "85-c", "8-d", "8-e", "9-f", "9-g", "h"];

/// Where it lies.
pub(crate) const LOCATIONS: [&str; 2] = ["main", "york"];

/// Levels are low at or below this, and each restock brings more than it, whatever is owed.
const THRESHOLD: i64 = 20;
const OWED_MAX: i64 = 5;
const RESTOCK: i64 = 30;
const SOLD_AT_ONCE_MAX: i64 = 6;

/// Longer than a test takes: nothing changes any more once the shop is closed.
const HOLD_SECONDS: i64 = 3_600;

const SELLERS: u64 = 4;

/// How often each seller sells: enough to keep every watcher busy, and no more.
const PACE: Duration = Duration::from_millis(4);

/// A handle on it; clones share it.
#[derive(Clone)]
pub(crate) struct Shop(Arc<Inner>);

struct Inner {
    servers: watch::Sender<Vec<String>>,
    /// Writes that were answered.
    written: AtomicUsize,
    closed: AtomicBool,
}

impl Shop {
    /// Puts the products on a server, which is the only one for now.
    pub(crate) async fn open(url: &str) -> Self {
        let client = Client::connect(url, 1).await.unwrap();
        let products = SKUS.map(|sku| Product {
            backorder_limit: OWED_MAX,
            ..product(sku, THRESHOLD)
        });
        let products = products.into();
        client
            .put_products(PutProductsRequest {
                products,
                ..Default::default()
            })
            .await
            .unwrap();
        Self(Arc::new(Inner {
            servers: watch::channel(vec![url.to_owned()]).0,
            written: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }))
    }

    /// These are the servers from now on.
    pub(crate) fn servers(&self, urls: &[&str]) {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        self.0.servers.send_replace(urls);
    }

    /// One of the servers, once there is one.
    pub(crate) async fn a_server(&self, chance: &mut SmallRng) -> String {
        let mut servers = self.0.servers.subscribe();
        let servers = servers
            .wait_for(|servers| !servers.is_empty())
            .await
            .unwrap();
        servers.choose(chance).unwrap().clone()
    }

    /// Waits until so many more writes were answered.
    pub(crate) async fn writes(&self, count: usize) {
        let enough = self.0.written.load(Ordering::Relaxed) + count;
        eventually("the shop sells", async || {
            self.0.written.load(Ordering::Relaxed) >= enough
        })
        .await;
    }

    /// Sells until it is closed.
    pub(crate) fn sell(&self) -> JoinSet<()> {
        let mut sellers = JoinSet::new();
        for seller in 0..SELLERS {
            let shop = self.clone();
            sellers.spawn(async move {
                let mut chance = SmallRng::seed_from_u64(seller);
                while !shop.is_closed() {
                    let url = shop.a_server(&mut chance).await;
                    let Ok(client) = Client::connect(&url, 1).await else {
                        continue;
                    };
                    shop.sell_at(&client, &mut chance).await;
                }
            });
        }
        sellers
    }

    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Sells at one server until the connection is lost or its turn is over.
    async fn sell_at(&self, client: &Client, chance: &mut SmallRng) {
        let mut pace = tokio::time::interval(PACE);
        for _ in 0..chance.random_range(10..200) {
            pace.tick().await;
            let answer = write(client, chance).await;
            match answer {
                Ok(()) => self.0.written.fetch_add(1, Ordering::Relaxed),
                // What became of it the ledger knows.
                Err(error) if !error.is_refusal() => return,
                Err(_) => 0,
            };
            if self.is_closed() {
                return;
            }
        }
    }
}

/// Orders something or other, at once or on hold first; brings more of it when it has run
/// out, and now and then changes when it counts as low and how much of it may be owed.
async fn write(client: &Client, chance: &mut SmallRng) -> Result<(), ClientError> {
    let sku = *SKUS.choose(chance).unwrap();
    let location = *LOCATIONS.choose(chance).unwrap();
    if chance.random_ratio(1, 50) {
        let products = vec![Product {
            backorder_limit: chance.random_range(0..=OWED_MAX),
            ..product(sku, chance.random_range(1..=THRESHOLD))
        }];
        return client
            .put_products(PutProductsRequest {
                products,
                ..Default::default()
            })
            .await
            .map(drop);
    }
    let is_on_hold = chance.random_ratio(1, 4);
    let order = CreateOrderRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        hold: is_on_hold.then(|| hold_of(HOLD_SECONDS)),
        lines: vec![OrderLineRequest {
            sku: sku.to_owned(),
            location: location.to_owned(),
            quantity: chance.random_range(1..=SOLD_AT_ONCE_MAX),
        }],
        ..CreateOrderRequest::default()
    };
    match client.create_order(order).await {
        Ok(made) if is_on_hold => end(client, &made.order.unwrap(), chance).await,
        Err(error) if error.reason == "INSUFFICIENT_STOCK" => {
            let restock = AdjustStockRequest {
                request_id: uuid::Uuid::now_v7().to_string(),
                sku: sku.to_owned(),
                location: location.to_owned(),
                change: Some(Change::Delta(RESTOCK)),
                kind: MovementKind::Received.into(),
                ..AdjustStockRequest::default()
            };
            client.adjust_stock(restock).await.map(drop)
        }
        answer => answer.map(drop),
    }
}

/// Takes what an order holds, or gives it back.
async fn end(client: &Client, held: &Order, chance: &mut SmallRng) -> Result<(), ClientError> {
    let request_id = uuid::Uuid::now_v7().to_string();
    if chance.random_bool(0.5) {
        let request = confirm(&request_id, &held.order_id);
        client.confirm_order(request).await.map(drop)
    } else {
        let request = cancel(&request_id, &held.order_id);
        client.cancel_order(request).await.map(drop)
    }
}
