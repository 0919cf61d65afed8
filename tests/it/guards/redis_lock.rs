//! `redis_lock` when Redis, or whoever holds a lock, is not what it should be: the
//! version decides, and a lost lock costs a retry and never a unit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use stockroom::config::{CacheLevels, LockingStrategy};

use crate::api::{order, stock};
use crate::cache::{Redis, with_redis};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::process::Server;
use crate::scrape::Scrape;
use crate::servers::redis;

#[test]
fn a_redis_that_dies_under_orders_costs_the_lock_and_no_order() {
    with_redis(StoreKind::Postgres, dies_under_orders);
}

#[test]
fn a_holder_that_is_stopped_past_the_life_of_its_lock_costs_no_unit() {
    with_redis(StoreKind::Postgres, stopped_past_the_life_of_its_lock);
}

#[test]
fn a_lock_that_somebody_has_is_waited_for_as_long_as_is_set_and_not_longer() {
    with_redis(StoreKind::Postgres, waits_for_a_lock);
}

const UNITS: i64 = 400;

async fn dies_under_orders(store: StoreKind) {
    let (redis, urls) = Redis::own();
    let home = Home::new(store);
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = Stockroom::on(home.clone(), |config| {
            urls.configure(config);
            config.locking.strategy = LockingStrategy::RedisLock;
            config.cache.levels = CacheLevels::Off;
        });
        servers.push(server.await);
    }
    stock(&servers[0].client, "hot", UNITS).await;
    let sell = async |part: &str| {
        let sold = join_all((0..UNITS as usize / 2).map(|i| {
            let client = servers[i % 2].client.retrying();
            let request = order(&format!("{part}-{i}"), &[("hot", 1)]);
            async move { client.create_order(&request).await }
        }));
        for sold in sold.await {
            sold.unwrap();
        }
    };
    let locked = async || {
        let scrape = Scrape::of(servers[0].http).await;
        scrape.value("stockroom_redis_lock_wait_seconds_count")
    };
    sell("with").await;
    assert!(locked().await > 0.0, "nobody took a lock");
    redis.kill();
    sell("without").await;
    let went_without = servers.iter().map(|it| &it.counters.redis_locks);
    let went_without: u64 = went_without.map(|locks| locks.unavailable.get()).sum();
    assert!(went_without > 0);
    assert_eq!(home.books().units_sold, UNITS);
    // And locks again once Redis is back.
    redis.start_again();
    stock(&servers[0].client, "more", UNITS).await;
    let before = locked().await;
    let mut sold = 0;
    eventually("it locks again", async || {
        let request = order(&format!("again-{sold}"), &[("more", 1)]);
        servers[0]
            .client
            .retrying()
            .create_order(&request)
            .await
            .unwrap();
        sold += 1;
        locked().await > before
    })
    .await;
}

async fn waits_for_a_lock(store: StoreKind) {
    /// Longer than by default.
    const WAIT: Duration = Duration::from_millis(1_500);
    let redis = redis::shared();
    let server = Stockroom::with(store, |config| {
        Redis::Server(Arc::clone(&redis)).configure(config);
        config.locking.strategy = LockingStrategy::RedisLock;
        config.locking.redis_lock_wait_ms = WAIT.as_millis() as u64;
        config.cache.levels = CacheLevels::Off;
    })
    .await;
    stock(&server.client, "a", 10).await;
    let store_id = "SELECT replace(store_id::text, '-', '') FROM store";
    let store_id = server.home.sql(store_id);
    let lock = format!("stockroom:1:{store_id}:lock:a@main");
    redis.tell(&["SET", &lock, "somebody"]);
    let began = Instant::now();
    let request = order("o", &[("a", 1)]);
    server.client.create_order(request).await.unwrap();
    assert!(began.elapsed() >= WAIT, "{:?}", began.elapsed());
    let scrape = Scrape::of(server.http).await;
    let missing = scrape.counted("stockroom_redis_lock_missing_total");
    assert_eq!(missing, BTreeMap::from([("{reason=\"timeout\"}", 1.0)]));
}

/// The life of a lock here.
const LIFE: Duration = Duration::from_millis(200);

async fn stopped_past_the_life_of_its_lock(store: StoreKind) {
    let (_redis, urls) = Redis::own();
    let home = Home::new(store);
    let urls = format!("redis.urls={}", urls.urls().join(","));
    let life = format!("locking.redis_lock_ttl_ms={}", LIFE.as_millis());
    let options = [
        "--set",
        &urls,
        "--set",
        &life,
        "--set",
        "locking.strategy=redis_lock",
    ];
    let stopped = Server::start_with(home.clone(), &options).await;
    let other = Server::start_with(home.clone(), &options).await;
    let clients = [stopped.client().await, other.client().await];
    stock(&clients[0], "hot", 1_000_000).await;
    let is_over = AtomicBool::new(false);
    // From callers of both, all the time.
    let callers = join_all((0..16).map(|caller| {
        let (client, is_over) = (clients[caller % 2].retrying(), &is_over);
        async move {
            let mut sold = 0;
            while !is_over.load(Ordering::Relaxed) {
                let request = order(&format!("c{caller}-{sold}"), &[("hot", 1)]);
                client.create_order(&request).await.unwrap();
                sold += 1;
            }
            sold
        }
    }));
    let stops = async {
        let (stopped_http, other_http) = (stopped.http().await, other.http().await);
        eventually(
            "it loses a lock that it has while it is stopped",
            async || {
                until_it_sells(stopped_http).await;
                stopped.signal(Signal::SIGSTOP);
                let until = Instant::now() + 2 * LIFE;
                eventually("its locks end", async || Instant::now() >= until).await;
                stopped.signal(Signal::SIGCONT);
                // What it may have had is given back, or found to be lost.
                until_it_sells(stopped_http).await;
                lost_locks(stopped_http).await + lost_locks(other_http).await > 0.0
            },
        )
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (sold, ()) = tokio::join!(callers, stops);
    assert_eq!(sold.iter().sum::<i64>(), home.books().units_sold);
}

/// Waits until a server has made an order more.
async fn until_it_sells(http: SocketAddr) {
    const SOLD: &str = "stockroom_orders_total{outcome=\"accepted\",reason=\"\"}";
    let before = Scrape::of(http).await.value(SOLD);
    eventually("it sells", async || {
        Scrape::of(http).await.value(SOLD) > before
    })
    .await;
}

async fn lost_locks(http: SocketAddr) -> f64 {
    let scrape = Scrape::of(http).await;
    scrape.value("stockroom_redis_lock_lost_total")
}
