//! Levels in Redis: a read that may come from there is never wrong, whatever becomes of
//! Redis.

mod faults;
mod joined;
mod reads;
mod refusals;
mod unwritable;

use std::future::Future;
use std::sync::Arc;

use stockroom::client::Client;
use stockroom::client::proto::{
    BatchGetStockKey, BatchGetStockRequest, BatchGetStockResponse, GetStockRequest,
    GetStockResponse, ServedFrom,
};
use stockroom::config::Config;
use tonic::Status;

use crate::fixture::{Home, Stockroom, StoreKind, eventually, not_run, run_on};
use crate::servers::redis;

/// The Redis of a test: where it is, and what keeps it.
#[derive(Debug, Clone)]
pub(crate) enum Redis {
    Server(Arc<redis::Server>),
    Cluster(Arc<redis::Cluster>),
}

impl Redis {
    /// A server of the test's own.
    pub(crate) fn own() -> (Arc<redis::Server>, Self) {
        let server = Arc::new(redis::Server::start());
        (Arc::clone(&server), Self::Server(server))
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        match self {
            Self::Server(server) => vec![server.url()],
            Self::Cluster(cluster) => cluster.urls(),
        }
    }

    /// Settings that find a Redis soon that is there again. What is there may take its time
    /// on a busy machine.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.redis.urls = self.urls();
        config.redis.timeout_ms = 2_000;
        config.redis.breaker_pause_ms = 100;
    }

    /// A server whose levels are cached here, once the cache is reached.
    pub(crate) async fn cached(
        &self,
        home: Arc<Home>,
        configure: impl FnOnce(&mut Config),
    ) -> Stockroom {
        let server = Stockroom::on(home, |config| {
            self.configure(config);
            configure(config);
        });
        let server = server.await;
        cache_is_asked(&server).await;
        server
    }
}

/// Runs `test` unless the run has no Redis, which is said aloud.
pub(crate) fn with_redis<F: Future<Output = ()>>(
    kind: StoreKind,
    test: impl FnOnce(StoreKind) -> F,
) {
    if redis::program().is_some() {
        return run_on(kind, test);
    }
    let variable = redis::VARIABLE;
    not_run(&format!(
        "on Redis: {variable} is not set; `make test` sets it"
    ));
}

/// Makes each claim a test on a server of Redis and on a cluster of three.
macro_rules! on_each_redis {
    ($($claim:ident),+ $(,)?) => {
        mod on_a_server {
            $(#[test] fn $claim() {
                crate::cache::with_redis(crate::fixture::StoreKind::Postgres, |store| {
                    super::$claim(store, crate::cache::Redis::Server(crate::servers::redis::shared()))
                });
            })+
        }
        mod on_a_cluster {
            $(#[test] fn $claim() {
                crate::cache::with_redis(crate::fixture::StoreKind::Postgres, |store| {
                    super::$claim(store, crate::cache::Redis::Cluster(crate::servers::redis::shared_cluster()))
                });
            })+
        }
    };
}

/// Makes each claim a test that has a Redis of its own to break.
macro_rules! on_own_redis {
    ($($claim:ident),+ $(,)?) => {
        $(mod $claim {
            #[test] fn on_a_server_of_its_own() {
                crate::cache::with_redis(crate::fixture::StoreKind::Postgres, super::$claim);
            }
        })+
    };
}
pub(crate) use on_each_redis;
pub(crate) use on_own_redis;

pub(crate) async fn cache_is_asked(server: &Stockroom) {
    let open = &server.counters.cache.link.open;
    eventually("the cache is asked", async || open.get() == 0).await;
}

pub(crate) async fn cache_is_not_asked(server: &Stockroom) {
    let open = &server.counters.cache.link.open;
    eventually("the cache is given up", async || open.get() == 1).await;
}

/// Everything committed here has reached Redis.
pub(crate) async fn cache_is_written(server: &Stockroom) {
    let waiting = &server.counters.cache.waiting;
    eventually("the cache is written", async || waiting.get() == 0).await;
}

pub(crate) fn at_least(sku: &str, min_version: i64) -> GetStockRequest {
    GetStockRequest {
        sku: sku.to_owned(),
        min_version: Some(min_version),
        ..GetStockRequest::default()
    }
}

/// Reads a level at `min_version` or above: source, version, units.
pub(crate) async fn read(client: &Client, sku: &str, min_version: i64) -> (ServedFrom, i64, i64) {
    let answer: GetStockResponse = client.get_stock(at_least(sku, min_version)).await.unwrap();
    let level = answer.level.clone().unwrap();
    assert!(level.version >= min_version, "{level:?}");
    (answer.served_from(), level.version, level.on_hand)
}

pub(crate) async fn read_all(
    server: &Stockroom,
    skus: &[(&str, Option<i64>)],
) -> Result<BatchGetStockResponse, Status> {
    let keys = skus.iter().map(|&(sku, min_version)| BatchGetStockKey {
        sku: sku.to_owned(),
        min_version,
        ..BatchGetStockKey::default()
    });
    let request = BatchGetStockRequest {
        keys: keys.collect(),
    };
    let answer = server.inventory().batch_get_stock(request).await;
    answer.map(tonic::Response::into_inner)
}
