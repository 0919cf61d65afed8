//! A Redis that dies, freezes, forgets: the same answers from the database.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::ServedFrom::{Cache, Primary};
use stockroom::config::Config;

use super::{
    Redis, cache_is_asked, cache_is_not_asked, cache_is_written, on_own_redis, read, read_all,
};
use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::servers::redis::Cluster;

on_own_redis! {
    a_redis_that_is_killed_under_load_changes_no_answer,
    a_redis_that_freezes_is_given_up_soon_and_shows_nothing_old_when_it_wakes,
    a_redis_that_freezes_costs_whoever_comes_later_no_more,
    a_redis_that_is_flushed_is_filled_again,
    a_server_starts_and_serves_without_its_redis,
    a_cluster_that_loses_a_server_loses_its_keys_alone,
    a_cluster_of_which_a_server_freezes_is_still_asked,
    levels_wait_for_redis_up_to_a_bound,
}

/// For tests that wait for answers which do not come.
fn soon_given_up(config: &mut Config) {
    config.redis.timeout_ms = 250;
}

/// Sells one unit after the other, and reads each version that this made, while `break_it`
/// runs. What is read was committed, and is no older than asked for.
async fn sell_and_read(server: &Stockroom, break_it: impl AsyncFnOnce()) -> i64 {
    let over = std::cell::Cell::new(false);
    let selling = async {
        let mut sold = 0;
        while !over.get() {
            sold += 1;
            let request = order(&format!("o-{sold}"), &[("a", 1)]);
            server.client.create_order(request).await.unwrap();
            let (_, version, units) = read(&server.client, "a", 1 + sold).await;
            assert_eq!(units, 1_000_001 - version);
            let (_, version, units) = read(&server.client, "a", 0).await;
            assert_eq!(units, 1_000_001 - version);
        }
        sold
    };
    let breaking = async {
        break_it().await;
        over.set(true);
    };
    tokio::join!(selling, breaking).0
}

async fn a_redis_that_is_killed_under_load_changes_no_answer(store: StoreKind) {
    let (redis, config) = Redis::own();
    let server = config.cached(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 1_000_000).await;
    let sold = sell_and_read(&server, async || {
        for _ in 0..3 {
            redis.kill();
            cache_is_not_asked(&server).await;
            redis.start_again();
            cache_is_asked(&server).await;
        }
    })
    .await;
    cache_is_written(&server).await;
    let last = (Cache, 1 + sold, 1_000_000 - sold);
    assert_eq!(read(&server.client, "a", 0).await, last);
}

async fn a_redis_that_freezes_is_given_up_soon_and_shows_nothing_old_when_it_wakes(
    store: StoreKind,
) {
    let (redis, config) = Redis::own();
    let server = config.cached(Home::new(store), soon_given_up).await;
    stock(&server.client, "a", 1_000_000).await;
    cache_is_written(&server).await;
    redis.freeze();
    let began = Instant::now();
    assert_eq!(read(&server.client, "a", 1).await.0, Primary);
    // One answer that did not come; a busy machine takes its time as well.
    assert!(began.elapsed() < Duration::from_secs(2));
    let sold = sell_and_read(&server, async || cache_is_not_asked(&server).await).await;
    assert!(server.counters.cache.link.failures.get() >= 1);
    // Nobody waits for it any more.
    let asked = server.counters.cache.link.failures.get();
    for _ in 0..20 {
        assert_eq!(read(&server.client, "a", 0).await.0, Primary);
    }
    assert_eq!(server.counters.cache.link.failures.get(), asked);
    redis.thaw();
    cache_is_asked(&server).await;
    // It woke up with version 1 or a little later; what was sold meanwhile goes first.
    let now = read(&server.client, "a", 0).await;
    assert_eq!((now.1, now.2), (1 + sold, 1_000_000 - sold));
    cache_is_written(&server).await;
    // Unless it takes longer once more, on a busy machine.
    eventually("the last version comes from the cache", async || {
        let (source, version, units) = read(&server.client, "a", 0).await;
        assert_eq!((version, units), (1 + sold, 1_000_000 - sold));
        source == Cache
    })
    .await;
}

async fn a_redis_that_freezes_costs_whoever_comes_later_no_more(store: StoreKind) {
    /// So long that what a busy machine takes beside is little.
    const TIMEOUT: Duration = Duration::from_secs(2);
    let (redis, config) = Redis::own();
    let server = config
        .cached(Home::new(store), |config| {
            config.redis.timeout_ms = TIMEOUT.as_millis() as u64;
            // Every one of them asks.
            config.redis.breaker_failures_max = 1_000;
        })
        .await;
    stock(&server.client, "a", 5).await;
    cache_is_written(&server).await;
    redis.freeze();
    // All but the first come while its question is on its way. The pauses are when callers come,
    // and nothing is waited for.
    let reads = (0..4_u32).map(async |place| {
        tokio::time::sleep(TIMEOUT / 4 * place).await;
        let began = Instant::now();
        assert_eq!(read(&server.client, "a", 1).await, (Primary, 1, 5));
        began.elapsed()
    });
    let longest = join_all(reads).await.into_iter().max().unwrap();
    assert!(longest < TIMEOUT * 3 / 2, "{longest:?}");
    redis.thaw();
}

async fn a_redis_that_is_flushed_is_filled_again(store: StoreKind) {
    let (redis, config) = Redis::own();
    let server = config.cached(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 1_000_000).await;
    sell_and_read(&server, async || {
        for _ in 0..20 {
            redis.flush();
            tokio::task::yield_now().await;
        }
    })
    .await;
    cache_is_written(&server).await;
    redis.flush();
    assert_eq!(read(&server.client, "a", 0).await.0, Primary);
    assert_eq!(read(&server.client, "a", 0).await.0, Cache);
}

async fn a_server_starts_and_serves_without_its_redis(store: StoreKind) {
    let (redis, config) = Redis::own();
    redis.kill();
    let server = Stockroom::on(Home::new(store), |settings| config.configure(settings)).await;
    assert_eq!(server.counters.cache.link.open.get(), 1);
    stock(&server.client, "a", 5).await;
    assert_eq!(read(&server.client, "a", 1).await, (Primary, 1, 5));
    redis.start_again();
    cache_is_asked(&server).await;
    eventually("what was committed before is cached", async || {
        read(&server.client, "a", 1).await == (Cache, 1, 5)
    })
    .await;
}

async fn a_cluster_that_loses_a_server_loses_its_keys_alone(store: StoreKind) {
    let cluster = std::sync::Arc::new(Cluster::start());
    for node in &cluster.nodes {
        node.tell(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let config = Redis::Cluster(std::sync::Arc::clone(&cluster));
    let server = config.cached(Home::new(store), soon_given_up).await;
    let skus: Vec<String> = (0..24).map(|n| format!("s{n}")).collect();
    for sku in &skus {
        stock(&server.client, sku, 5).await;
    }
    cache_is_written(&server).await;
    cluster.nodes[1].kill();
    let mut sources = Vec::new();
    eventually("some come from the cache, some do not", async || {
        sources.clear();
        for sku in &skus {
            let (source, version, units) = read(&server.client, sku, 1).await;
            assert_eq!((version, units), (1, 5));
            sources.push(source);
        }
        sources.contains(&Cache) && sources.contains(&Primary)
    })
    .await;
    cluster.nodes[1].start_again();
    cluster.wait_until_whole();
    eventually("all come from the cache again", async || {
        let mut all = true;
        for sku in &skus {
            all &= read(&server.client, sku, 1).await == (Cache, 1, 5);
        }
        all
    })
    .await;
}

async fn a_cluster_of_which_a_server_freezes_is_still_asked(store: StoreKind) {
    const FAILURES_MAX: u32 = 6;
    let cluster = std::sync::Arc::new(Cluster::start());
    let config = Redis::Cluster(std::sync::Arc::clone(&cluster));
    let server = config
        .cached(Home::new(store), |config| {
            config.redis.breaker_failures_max = FAILURES_MAX;
        })
        .await;
    let skus: Vec<String> = (0..96).map(|n| format!("s{n}")).collect();
    for sku in &skus {
        stock(&server.client, sku, 5).await;
    }
    cache_is_written(&server).await;
    let link = &server.counters.cache.link;
    let before = link.failures.get();
    cluster.nodes[1].freeze();
    // In one round: a third of them, more than the breaker takes in a row, has no answer.
    let keys: Vec<(&str, Option<i64>)> = skus.iter().map(|sku| (&**sku, Some(1))).collect();
    let answer = read_all(&server, &keys).await.unwrap();
    assert_eq!(answer.served_from(), Primary);
    eventually("some are not answered", async || {
        link.failures.get() >= before + u64::from(FAILURES_MAX)
    })
    .await;
    assert_eq!(link.open.get(), 0);
    cluster.nodes[1].thaw();
}

async fn levels_wait_for_redis_up_to_a_bound(store: StoreKind) {
    let (redis, config) = Redis::own();
    let server = config
        .cached(Home::new(store), |config| config.cache.writes_max = 3)
        .await;
    redis.kill();
    for sku in ["a", "b", "c", "d", "e"] {
        stock(&server.client, sku, 5).await;
    }
    cache_is_not_asked(&server).await;
    let counters = &server.counters.cache;
    assert_eq!((counters.waiting.get(), counters.dropped.get()), (3, 2));
    redis.start_again();
    cache_is_asked(&server).await;
    cache_is_written(&server).await;
    assert_eq!(read(&server.client, "a", 1).await.0, Cache);
    assert_eq!(read(&server.client, "e", 1).await, (Primary, 1, 5));
}
