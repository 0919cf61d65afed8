//! A primary and its replicas.

use std::sync::Arc;

use stockroom::client::Client;
use stockroom::client::proto::{
    GetStockRequest, GetStockResponse, ListStockRequest, ListStockResponse, ServedFrom,
};
use stockroom::config::Config;
use stockroom::telemetry::Replica;

use crate::api::order;
use crate::fixture::{Home, Stockroom, eventually};
use crate::proxy::Proxy;
use crate::scrape::Scrape;
use crate::servers::postgres::Server;

/// How often replicas are checked here, so that tests need not wait for a second.
const CHECK_INTERVAL_MS: u64 = 50;

/// A database on a primary, and its replicas.
pub(super) struct Fleet {
    pub(super) home: Arc<Home>,
    pub(super) replicas: Vec<Arc<Server>>,
    // After its replicas, which it would wait for.
    pub(super) primary: Arc<Server>,
}

impl Fleet {
    pub(super) fn of(replicas: usize) -> Self {
        let primary = Server::start();
        let replicas = (0..replicas).map(|_| primary.replica()).collect();
        Self {
            home: Home::on(&primary),
            replicas,
            primary,
        }
    }

    /// The URLs of its replicas.
    pub(super) fn urls(&self) -> Vec<String> {
        let replicas = self.replicas.iter();
        replicas.map(|replica| self.home.url_on(replica)).collect()
    }

    /// Starts a server on it and waits until every replica takes reads. However far behind
    /// a replica is, it takes reads, unless `configure` says otherwise.
    pub(super) async fn stockroom(&self, configure: impl FnOnce(&mut Config)) -> Stockroom {
        let server = self.not_ready(configure).await;
        for replica in &self.replicas {
            wait_until(&server, replica, true).await;
        }
        server
    }

    /// Starts a server on it.
    pub(super) async fn not_ready(&self, configure: impl FnOnce(&mut Config)) -> Stockroom {
        Stockroom::on(Arc::clone(&self.home), |config| {
            config.store.replicas = self.urls();
            config.store.replica_check_interval_ms = CHECK_INTERVAL_MS;
            config.store.replica_lag_max_ms = 3_600_000;
            // So that on a busy machine no replica seems silent.
            config.store.replica_timeout_ms = 5_000;
            configure(config);
        })
        .await
    }

    /// Starts a server that reaches the first replica through a proxy, and waits until that
    /// one takes reads.
    pub(super) async fn behind_proxy(
        &self,
        configure: impl FnOnce(&mut Config),
    ) -> (Stockroom, Proxy, Replica) {
        let replica = self.replicas[0].name();
        let proxy = Proxy::before(replica.parse().unwrap()).await;
        let name = proxy.addr.to_string();
        let server = self
            .not_ready(|config| {
                config.store.replicas[0] = self.urls()[0].replace(&replica, &name);
                configure(config);
            })
            .await;
        let metrics = server.counters.replica(&name);
        eventually("it serves", async || metrics.serves.get() == 1).await;
        (server, proxy, metrics)
    }

    /// Waits until all replicas show what the primary has.
    pub(super) fn catch_up(&self) {
        for replica in &self.replicas {
            self.primary.wait_until_shown_by(replica);
        }
    }
}

/// Sells one unit of `a` so many times, in orders that begin with `name`.
pub(super) async fn sell(server: &Stockroom, name: &str, times: i64) {
    for i in 0..times {
        let request = order(&format!("{name}-{i}"), &[("a", 1)]);
        server.client.create_order(request).await.unwrap();
    }
}

/// Waits until a replica takes reads, or takes none.
pub(super) async fn wait_until(server: &Stockroom, replica: &Server, serves: bool) {
    let metrics = server.counters.replica(&replica.name());
    let what = format!("{} serves: {serves}", replica.name());
    eventually(&what, async || metrics.serves.get() == i64::from(serves)).await;
}

/// A series of one replica's.
pub(super) async fn scraped(server: &Stockroom, metric: &str, replica: &Server) -> f64 {
    let series = format!("{metric}{{replica=\"{}\"}}", replica.name());
    Scrape::of(server.http).await.value(&series)
}

/// Waits until one of some replicas has served a read. What the store counted is told to the
/// metrics each second.
pub(super) async fn wait_until_served(server: &Stockroom, replicas: &[Arc<Server>]) {
    let metrics: Vec<_> = replicas
        .iter()
        .map(|replica| server.counters.replica(&replica.name()))
        .collect();
    eventually("a replica serves reads", async || {
        metrics.iter().any(|metrics| metrics.served.get() > 0)
    })
    .await;
}

/// Reads a level at `main` at a version or a later one; none reads the primary.
pub(super) async fn get(client: &Client, sku: &str, min_version: Option<i64>) -> GetStockResponse {
    let request = GetStockRequest {
        sku: sku.to_owned(),
        min_version,
        ..GetStockRequest::default()
    };
    client.get_stock(request).await.unwrap()
}

/// The version that was read, and where.
pub(super) fn read(answer: &GetStockResponse) -> (i64, ServedFrom) {
    let version = answer.level.as_ref().unwrap().version;
    (version, answer.served_from())
}

/// A page of three levels from any source.
pub(super) async fn list_stale(client: &Client, page_token: &str) -> ListStockResponse {
    let request = ListStockRequest {
        page_size: 3,
        page_token: page_token.to_owned(),
        allow_stale: true,
        ..ListStockRequest::default()
    };
    client.list_stock(request).await.unwrap()
}
