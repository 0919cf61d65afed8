//! One shop on as many instances as a cell of the matrix has.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::join_all;
use stockroom::client::proto::{CreateOrderRequest, CreateOrderResponse};
use stockroom::client::{Client, ClientError, Retrying};
use stockroom::config::{CacheLevels, Config, LockingStrategy};

use crate::cache::with_redis;
use crate::fixture::{Home, Stockroom, StoreKind, run_on};
use crate::servers::redis;

/// A cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) store: StoreKind,
    strategy: LockingStrategy,
    /// Of the second instance, if there is one.
    second: Option<LockingStrategy>,
    /// As in the configuration; its default if none.
    batch_orders_max: Option<usize>,
    /// Whether what is locked in Redis is on a cluster.
    on_a_cluster: bool,
}

impl Cell {
    pub(super) fn on_sqlite() -> Self {
        Self {
            store: StoreKind::Sqlite,
            strategy: LockingStrategy::Optimistic,
            second: None,
            batch_orders_max: None,
            on_a_cluster: false,
        }
    }

    /// Runs `test` here, unless the run leaves out what it needs.
    pub(super) fn run<F: Future<Output = ()>>(self, test: impl FnOnce(Self) -> F) {
        if self.needs_redis() {
            with_redis(self.store, |_| test(self));
        } else {
            run_on(self.store, |_| test(self));
        }
    }

    fn needs_redis(self) -> bool {
        let strategies = [Some(self.strategy), self.second];
        strategies.contains(&Some(LockingStrategy::RedisLock))
    }

    fn redis_urls(self) -> Vec<String> {
        if !self.needs_redis() {
            Vec::new()
        } else if self.on_a_cluster {
            redis::shared_cluster().urls()
        } else {
            vec![redis::shared().url()]
        }
    }

    pub(super) fn on_a_cluster(self) -> Self {
        Self {
            on_a_cluster: true,
            ..self
        }
    }

    pub(super) fn on_postgres(strategy: LockingStrategy) -> Self {
        Self {
            store: StoreKind::Postgres,
            strategy,
            ..Self::on_sqlite()
        }
    }

    pub(super) fn one_by_one(self) -> Self {
        Self {
            batch_orders_max: Some(1),
            ..self
        }
    }

    pub(super) fn on_two_instances(self) -> Self {
        self.beside(self.strategy)
    }

    /// On two instances, of which the second has a strategy of its own.
    pub(super) fn beside(self, second: LockingStrategy) -> Self {
        Self {
            second: Some(second),
            ..self
        }
    }
}

/// Servers that share a store. Their drops check the books.
pub(super) struct Shop {
    pub(super) servers: Vec<Stockroom>,
    pub(super) home: Arc<Home>,
    cell: Cell,
}

impl Shop {
    pub(super) async fn open(cell: Cell) -> Self {
        Self::open_with(cell, |_| {}).await
    }

    /// With settings of the test's choice.
    pub(super) async fn open_with(cell: Cell, configure: impl Fn(&mut Config)) -> Self {
        let home = Home::migrated(cell.store);
        let mut servers = Vec::new();
        for strategy in [Some(cell.strategy), cell.second].into_iter().flatten() {
            let server = Stockroom::on(home.clone(), |config| {
                config.locking.strategy = strategy;
                config.redis.urls = cell.redis_urls();
                config.cache.levels = CacheLevels::Off;
                configure(config);
                if let Some(orders) = cell.batch_orders_max {
                    config.engine.batch_orders_max = orders;
                }
            });
            servers.push(server.await);
        }
        Self {
            servers,
            home,
            cell,
        }
    }

    /// The instance of the `i`-th caller.
    pub(super) fn server(&self, i: usize) -> &Stockroom {
        &self.servers[i % self.servers.len()]
    }

    pub(super) fn client(&self, i: usize) -> &Client {
        &self.server(i).client
    }

    /// For callers who meet those of another instance, which is nobody's fault.
    pub(super) fn retrying(&self, i: usize) -> Retrying {
        self.client(i).retrying()
    }

    /// Sends all at once, to the instances in turn, each until it is answered.
    pub(super) async fn order_all(
        &self,
        requests: &[CreateOrderRequest],
    ) -> Vec<Result<CreateOrderResponse, ClientError>> {
        join_all(requests.iter().enumerate().map(|(i, request)| {
            let client = self.retrying(i);
            async move { client.create_order(request).await }
        }))
        .await
    }

    /// Whether orders that wait together are made together.
    pub(super) fn batches(&self) -> bool {
        self.cell.batch_orders_max.is_none()
    }

    /// Commits, and the orders that they made, of all instances.
    pub(super) fn commits_and_orders(&self) -> (u64, u64) {
        let counters = self.servers.iter().map(|server| &server.counters);
        counters.fold((0, 0), |(commits, orders), c| {
            (
                commits + c.commit.made.get(),
                orders + c.orders.accepted.get(),
            )
        })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.home.check_no_deadlock();
        }
    }
}
