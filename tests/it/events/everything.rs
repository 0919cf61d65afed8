//! Two instances with Kafka, Redis and a replica, of which everything dies in turn while orders
//! are placed and read back. Each order is made once, reads keep what they promise, and
//! Kafka is told all of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use stockroom::client::proto::{CreateOrderRequest, GetStockRequest, Order, ServedFrom};
use stockroom::client::{Client, ClientError};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::told::{Told, orders_of, private_kafka};
use crate::api::{order, stock};
use crate::chaos::{chance, rounds};
use crate::fixture::{Home, StoreKind, eventually};
use crate::process::Server;
use crate::servers::postgres::Server as Database;
use crate::servers::redis;

mod postgres {
    #[test]
    fn two_instances_with_kafka_redis_and_a_replica_survive_everything() {
        crate::cache::with_redis(
            crate::fixture::StoreKind::Postgres,
            super::two_instances_with_kafka_redis_and_a_replica_survive_everything,
        );
    }
}

const CALLERS: usize = 8;

/// Orders that must be answered before a blow, and during an outage that costs none.
const PROGRESS: usize = 50;

/// A call that is not answered within this goes to another instance.
const PATIENCE: Duration = Duration::from_secs(3);

/// Any order must be answered within this, whatever breaks.
const ANSWERED: Duration = Duration::from_secs(60);

/// What can break.
#[derive(Debug, Clone, Copy)]
enum Blow {
    KillInstance,
    KillKafka,
    FreezeKafka,
    KillRedis,
    FreezeRedis,
    FlushRedis,
    StopReplica,
    PauseReplica,
    StopPrimary,
}

const BLOWS: [Blow; 9] = [
    Blow::KillInstance,
    Blow::KillKafka,
    Blow::FreezeKafka,
    Blow::KillRedis,
    Blow::FreezeRedis,
    Blow::FlushRedis,
    Blow::StopReplica,
    Blow::PauseReplica,
    Blow::StopPrimary,
];

struct Shop {
    home: Arc<Home>,
    told: Told,
    options: Vec<String>,
    /// Of each instance; another one takes its place when it is killed.
    clients: Mutex<Vec<Client>>,
    instances: Mutex<Vec<Option<Server>>>,
    answered: AtomicUsize,
    /// Reads that did not come from the primary.
    read_elsewhere: AtomicUsize,
    closed: AtomicBool,
    redis: redis::Server,
    // After its replica, which it would wait for.
    replica: Arc<Database>,
    primary: Arc<Database>,
}

impl Shop {
    async fn instance(&self) -> (Client, Server) {
        let server = Server::start_with(self.home.clone(), &self.options).await;
        (server.client().await, server)
    }

    /// Waits until more orders have been answered.
    async fn progress(&self, what: &str) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually(what, async || {
            self.answered.load(Ordering::Relaxed) >= before + PROGRESS
        })
        .await;
    }

    /// Calls whichever instance, again and again, until it is answered for good.
    async fn call<T>(
        &self,
        turn: usize,
        call: impl AsyncFn(Client) -> Result<T, ClientError>,
    ) -> T {
        let deadline = Instant::now() + ANSWERED;
        for attempt in turn.. {
            let client = {
                let clients = self.clients.lock().unwrap();
                clients[attempt % clients.len()].clone()
            };
            match timeout(PATIENCE, call(client)).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) => {
                    assert!(error.retryable(), "{error}");
                    assert!(Instant::now() < deadline, "{error}");
                }
                Err(_) => assert!(Instant::now() < deadline, "nobody answers"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        unreachable!("the deadline ends it")
    }

    /// Places orders, and reads each back wherever it may be read, until the shop closes.
    async fn place(&self, caller: usize) -> BTreeSet<String> {
        let mut made = BTreeSet::new();
        for i in 0.. {
            if self.closed.load(Ordering::Relaxed) {
                break;
            }
            let sku = ["a", "b", "c"][(caller + i) % 3];
            let request = order(&format!("o-{caller}-{i}"), &[(sku, 1)]);
            let order = self.call(i, async |client| create(client, &request).await);
            let order = order.await;
            let version = order.lines[0].version;
            let read = GetStockRequest {
                sku: sku.to_owned(),
                min_version: Some(version),
                ..GetStockRequest::default()
            };
            let read = self.call(i + 1, async |client| client.get_stock(read.clone()).await);
            let read = read.await;
            let elsewhere = read.served_from() != ServedFrom::Primary;
            let level = read.level.unwrap();
            assert!(level.version >= version, "{level:?} is below {version}");
            self.read_elsewhere
                .fetch_add(usize::from(elsewhere), Ordering::Relaxed);
            made.insert(order.order_id);
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        made
    }

    /// Waits until a level comes from the replica where the cache has it not, and then
    /// from the cache.
    async fn reads_come_from_everywhere(&self) {
        let any_version = GetStockRequest {
            sku: "a".to_owned(),
            min_version: Some(0),
            ..GetStockRequest::default()
        };
        let read = async || {
            let read = self.call(0, async |client| {
                client.get_stock(any_version.clone()).await
            });
            read.await.served_from()
        };
        eventually("reads come from everywhere", async || {
            self.redis.flush();
            [read().await, read().await] == [ServedFrom::Replica, ServedFrom::Cache]
        })
        .await;
    }

    /// Breaks something, shows that orders go on where they must, and mends it.
    async fn strike(&self, blow: Blow, chance: &mut SmallRng) {
        let what = format!("orders go on in spite of {blow:?}");
        let (kafka, replica) = (Arc::clone(&self.told.kafka), Arc::clone(&self.replica));
        match blow {
            Blow::KillInstance => {
                let which = chance.random_range(0..2);
                let killed = self.instances.lock().unwrap()[which].take();
                spawn_blocking(|| killed.unwrap().kill()).await.unwrap();
                self.progress(&what).await;
                let (client, server) = self.instance().await;
                self.clients.lock().unwrap()[which] = client;
                self.instances.lock().unwrap()[which] = Some(server);
            }
            Blow::KillKafka => {
                kafka.kill();
                self.progress(&what).await;
                spawn_blocking(move || kafka.start_again()).await.unwrap();
            }
            Blow::FreezeKafka => {
                kafka.freeze();
                self.progress(&what).await;
                kafka.thaw();
            }
            Blow::KillRedis => {
                self.redis.kill();
                self.progress(&what).await;
                self.redis.start_again();
            }
            Blow::FreezeRedis => {
                self.redis.freeze();
                self.progress(&what).await;
                self.redis.thaw();
            }
            Blow::FlushRedis => {
                self.redis.flush();
                self.progress(&what).await;
            }
            Blow::StopReplica => {
                let stopped = Arc::clone(&replica);
                spawn_blocking(move || stopped.stop_at_once())
                    .await
                    .unwrap();
                self.progress(&what).await;
                spawn_blocking(move || replica.start_again()).await.unwrap();
            }
            Blow::PauseReplica => {
                let paused = Arc::clone(&replica);
                spawn_blocking(move || paused.pause_replay()).await.unwrap();
                self.progress(&what).await;
                spawn_blocking(move || replica.resume_replay())
                    .await
                    .unwrap();
            }
            Blow::StopPrimary => {
                let primary = Arc::clone(&self.primary);
                let restart = move || {
                    primary.stop_at_once();
                    primary.start_again();
                };
                spawn_blocking(restart).await.unwrap();
            }
        }
    }
}

async fn create(client: Client, request: &CreateOrderRequest) -> Result<Order, ClientError> {
    let answer = client.create_order(request.clone()).await?;
    Ok(answer.order.unwrap())
}

async fn two_instances_with_kafka_redis_and_a_replica_survive_everything(_: StoreKind) {
    let Some(kafka) = private_kafka() else { return };
    let told = Told::on(kafka).await;
    let primary = Database::start();
    let replica = primary.replica();
    let home = Home::on(&primary);
    let redis = redis::Server::start();
    let mut options = told.options();
    options.extend(["--set".to_owned(), format!("redis.urls={}", redis.url())]);
    let replicas = format!("store.replicas={}", home.url_on(&replica));
    options.extend(["--set".to_owned(), replicas]);
    let shop = Shop {
        home,
        told,
        options,
        clients: Mutex::default(),
        instances: Mutex::default(),
        answered: AtomicUsize::new(0),
        read_elsewhere: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        redis,
        replica,
        primary,
    };
    for _ in 0..2 {
        let (client, server) = shop.instance().await;
        shop.clients.lock().unwrap().push(client);
        shop.instances.lock().unwrap().push(Some(server));
    }
    let client = shop.clients.lock().unwrap()[0].clone();
    for sku in ["a", "b", "c"] {
        stock(&client, sku, 1_000_000).await;
    }
    let mut chance = chance();
    let striking = async {
        for _ in 0..rounds() {
            let mut blows = BLOWS;
            blows.shuffle(&mut chance);
            for blow in blows {
                shop.progress(&format!("orders run before {blow:?}")).await;
                shop.strike(blow, &mut chance).await;
            }
        }
        shop.progress("orders run at the end").await;
        shop.closed.store(true, Ordering::Relaxed);
    };
    let placing = join_all((0..CALLERS).map(|caller| shop.place(caller)));
    let (made, ()) = tokio::join!(placing, striking);
    let made: BTreeSet<String> = made.into_iter().flatten().collect();
    assert_eq!(made, orders_of(&shop.home));
    let read_elsewhere = shop.read_elsewhere.load(Ordering::Relaxed);
    assert!(read_elsewhere > 0, "the primary answered every read");
    shop.reads_come_from_everywhere().await;
    shop.told.check(&shop.home, &made).await;
}
