//! The client that people use: typed calls, retries that are safe, a watch that resumes.
//!
//! Owns the connections. Promises that a call which [`Retrying`] repeats has
//! its effect once, since every repeat carries the same `request_id`, and that
//! a [`Watch`] never goes back to an old version. Choosing the `request_id` is
//! left to callers who know what is the same request after they have crashed;
//! for others it is made.
//!
//! ```
//! use futures_util::StreamExt;
//! use stockroom::client::proto::adjust_stock_request::Change;
//! use stockroom::client::proto::{
//!     AdjustStockRequest, CreateOrderRequest, MovementKind, OrderLineRequest, Product,
//!     PutProductsRequest,
//! };
//! use stockroom::client::{Client, WatchTargets};
//!
//! # use std::sync::Arc;
//! # use stockroom::{config::Config, server, telemetry::Counters};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // A server, as `stockroom serve --listen 127.0.0.1:0` starts it.
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let folder = tempfile::tempdir()?;
//! # let mut config = Config::default();
//! # config.store.url = format!("sqlite://{}", folder.path().join("stock.db").display());
//! # let grpc = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
//! # let address = grpc.local_addr()?.to_string();
//! # let listeners = server::Listeners { grpc, http: None };
//! # let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! # let server = runtime.spawn(server::run(config, listeners, Arc::new(Counters::default()), async {
//! #     let _ = stopped.await;
//! # }));
//! # runtime.block_on(async {
//! // The address of any instance, and how many connections to open.
//! let client = Client::connect(&address, 1).await?;
//!
//! // Repeats what fails for a passing reason; makes request_ids where none are given.
//! let shop = client.retrying();
//! let heart = Product { sku: "85123A".into(), low_stock_threshold: 10, ..Default::default() };
//! shop.put_products(&PutProductsRequest { products: vec![heart], ..Default::default() }).await?;
//! let delivery = AdjustStockRequest {
//!     sku: "85123A".into(),
//!     change: Some(Change::Delta(100)),
//!     kind: MovementKind::Received.into(),
//!     ..Default::default()
//! };
//! shop.adjust_stock(&delivery).await?;
//!
//! // Levels as they change, across lost connections and restarts.
//! let mut watch = client.watch(WatchTargets::all());
//! let mut levels = watch.levels();
//! let there = levels.next().await.expect("it ends after errors alone")?;
//! assert_eq!((there.available, there.version), (100, 1));
//!
//! let line = OrderLineRequest { sku: "85123A".into(), quantity: 6, ..Default::default() };
//! let order = CreateOrderRequest { lines: vec![line], ..Default::default() };
//! let made = shop.create_order(&order).await?.order.expect("every answer has it");
//! let now = levels.next().await.expect("it ends after errors alone")?;
//! assert_eq!((now.available, now.version), (94, made.lines[0].version));
//! # drop(levels);
//! # drop((watch, shop, client));
//! # let _ = stop.send(());
//! # server.await??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

mod calls;
mod endpoint;
mod error;
mod event;
pub mod history;
mod levels;
mod retry;
mod seen;
mod targets;
mod unheard;
mod watch;

pub use crate::proto;
pub use error::ClientError;
pub use event::WatchEvent;
pub use retry::Retrying;
pub use targets::WatchTargets;
pub use tonic::Code;
pub use watch::Watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::try_join_all;
use proto::inventory_service_client::InventoryServiceClient;
use proto::order_service_client::OrderServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A handle on one server. Clones are cheap and share the connections; calls
/// take turns on them, and a lost connection is made again by the next call.
#[derive(Clone, Debug)]
pub struct Client(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    endpoint: Endpoint,
    lanes: Box<[RwLock<Arc<Lane>>]>,
    /// Counts calls, so that they take turns.
    next: AtomicUsize,
}

/// One HTTP/2 connection and the services on it.
#[derive(Debug)]
struct Lane {
    /// Its place among the lanes.
    place: usize,
    /// How many connections there were in this place before.
    age: u64,
    orders: OrderServiceClient<Channel>,
    inventory: InventoryServiceClient<Channel>,
    health: HealthClient<Channel>,
}

impl Lane {
    fn new(place: usize, age: u64, channel: Channel) -> Self {
        Self {
            place,
            age,
            orders: OrderServiceClient::new(channel.clone()),
            inventory: InventoryServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
        }
    }
}

impl Client {
    /// Opens `connections` (at least one) HTTP/2 connections to `addr`, like
    /// `http://127.0.0.1:50051` or `[::1]:50051`. There is no TLS: the scheme is `http`, and
    /// may be left out, as may port 80.
    ///
    /// # Errors
    /// `addr` is no address, or nobody answers there.
    pub async fn connect(addr: &str, connections: usize) -> Result<Self, ClientError> {
        let endpoint = endpoint::parse(addr)?;
        let channels = try_join_all((0..connections.max(1)).map(|_| endpoint.connect())).await?;
        let channels = channels.into_iter().enumerate();
        let lanes = channels.map(|(place, channel)| Arc::new(Lane::new(place, 0, channel)));
        Ok(Self(Arc::new(Connections {
            lanes: lanes.map(RwLock::new).collect(),
            endpoint,
            next: AtomicUsize::new(0),
        })))
    }

    /// The same calls, repeated for as long as that can help.
    pub fn retrying(&self) -> Retrying {
        Retrying::new(self.clone())
    }

    /// Watches levels from now on, through lost connections and restarts.
    pub fn watch(&self, targets: WatchTargets) -> Watch {
        Watch::new(self.clone(), targets)
    }

    /// Whether the server takes requests, by what its health service says of it as a whole.
    ///
    /// # Errors
    /// Those of the way to it.
    pub async fn serves(&self) -> Result<bool, ClientError> {
        let mut health = self.lane().health.clone();
        let answer = health.check(HealthCheckRequest::default()).await?;
        Ok(answer.get_ref().status() == ServingStatus::Serving)
    }

    /// The lane whose turn it is.
    fn lane(&self) -> Arc<Lane> {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        let lane = &self.0.lanes[turn % self.0.lanes.len()];
        Arc::clone(&lane.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody shall begin anything on this lane's connection any more; returns what takes its
    /// place. It was found silent, which the keepalive would find much later, or the server
    /// asks for another one. What is under way on it goes on. Many may find the same; the
    /// first one counts.
    fn renew(&self, old: &Lane) -> Arc<Lane> {
        let lane = &self.0.lanes[old.place];
        let mut lane = lane.write().unwrap_or_else(PoisonError::into_inner);
        if lane.age == old.age {
            let channel = self.0.endpoint.connect_lazy();
            *lane = Arc::new(Lane::new(old.place, old.age + 1, channel));
        }
        Arc::clone(&lane)
    }
}
