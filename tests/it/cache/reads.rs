//! What a cached read shows, while nothing breaks.

use std::time::Duration;

use futures_util::future::join_all;
use stockroom::client::proto::DeleteProductRequest;
use stockroom::client::proto::ServedFrom::{Cache, Primary};
use tonic::Code;

use super::{Redis, at_least, cache_is_written, on_each_redis, on_own_redis, read, read_all};
use crate::api::{level, order, put, received, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::proxy::{Line, Proxy};

on_each_redis! {
    a_read_after_a_write_sees_it_and_comes_from_the_cache,
    a_read_that_names_no_version_asks_the_primary,
    instances_share_a_cache_and_no_read_goes_below_its_version,
    a_miss_is_read_once_however_many_miss_it,
    a_batch_comes_from_one_source,
    unknown_skus_and_levels_without_stock_are_not_cached,
    a_threshold_that_changes_is_read_with_its_version,
    a_level_ends_in_the_cache_after_its_time,
    another_store_never_sees_what_this_one_cached,
    a_product_that_was_deleted_is_unknown_until_it_is_put_again,
}

on_own_redis! {
    an_older_version_never_replaces_a_later_one,
}

async fn start(store: StoreKind, redis: &Redis) -> Stockroom {
    redis.cached(Home::new(store), |_| {}).await
}

async fn a_read_after_a_write_sees_it_and_comes_from_the_cache(store: StoreKind, redis: Redis) {
    let server = start(store, &redis).await;
    stock(&server.client, "a", 100).await;
    for sold in 1..=50 {
        let request = order(&format!("o-{sold}"), &[("a", 1)]);
        server.client.create_order(request).await.unwrap();
        // Also without naming it: what was answered here is seen here.
        let expected = (Cache, 1 + sold, 100 - sold);
        assert_eq!(read(&server.client, "a", 0).await, expected);
        assert_eq!(read(&server.client, "a", 1 + sold).await, expected);
    }
    cache_is_written(&server).await;
    assert_eq!(read(&server.client, "a", 51).await, (Cache, 51, 50));
    let primary = level(&server.client, "a").await;
    let cached = server.client.get_stock(at_least("a", 0)).await.unwrap();
    assert_eq!(cached.level, Some(primary), "the whole level is the same");
}

async fn a_read_that_names_no_version_asks_the_primary(store: StoreKind, redis: Redis) {
    let server = start(store, &redis).await;
    stock(&server.client, "a", 1).await;
    let mut request = at_least("a", 0);
    request.min_version = None;
    let answer = server.client.get_stock(request).await.unwrap();
    assert_eq!(answer.served_from(), Primary);
    assert_eq!(server.counters.cache.hits.get(), 0);
}

async fn instances_share_a_cache_and_no_read_goes_below_its_version(
    store: StoreKind,
    redis: Redis,
) {
    let home = Home::new(store);
    let first = redis.cached(home.clone(), |_| {}).await;
    let second = redis.cached(home, |_| {}).await;
    stock(&first.client, "a", 1_000).await;
    let selling = async {
        for i in 0..200 {
            let request = order(&format!("o-{i}"), &[("a", 1)]);
            let sold = first.client.create_order(request).await.unwrap();
            let version = sold.order.unwrap().lines[0].version;
            let (_, seen, units) = read(&second.client, "a", version).await;
            assert_eq!(units, 1_001 - seen, "it was never committed");
        }
    };
    let looking = async {
        for _ in 0..400 {
            let (_, seen, units) = read(&second.client, "a", 0).await;
            assert_eq!(units, 1_001 - seen, "it was never committed");
        }
    };
    tokio::join!(selling, looking);
    cache_is_written(&first).await;
    cache_is_written(&second).await;
    assert_eq!(read(&second.client, "a", 0).await, (Cache, 201, 800));
    let refused = refusal(second.inventory().get_stock(at_least("a", 202)).await);
    refused.is(Code::FailedPrecondition, "VERSION_NOT_REACHED");
}

async fn a_miss_is_read_once_however_many_miss_it(store: StoreKind, redis: Redis) {
    let home = Home::new(store);
    let writer = Stockroom::on(home.clone(), |_| {}).await;
    stock(&writer.client, "a", 5).await;
    let reader = redis.cached(home, |_| {}).await;
    let reads = (0..200).map(|_| reader.client.get_stock(at_least("a", 1)));
    for answer in join_all(reads).await {
        assert_eq!(answer.unwrap().level.unwrap().on_hand, 5);
    }
    let counters = &reader.counters.cache;
    assert!(counters.fills.get() < 10, "{} reads", counters.fills.get());
    assert_eq!(read(&reader.client, "a", 0).await.0, Cache);
}

async fn a_batch_comes_from_one_source(store: StoreKind, redis: Redis) {
    let home = Home::new(store);
    let server = redis.cached(home.clone(), |_| {}).await;
    for sku in ["a", "b"] {
        stock(&server.client, sku, 7).await;
    }
    let both = [("a", Some(1)), ("b", Some(0)), ("a", Some(0))];
    let answer = read_all(&server, &both).await.unwrap();
    assert_eq!((answer.served_from(), answer.levels.len()), (Cache, 3));
    let one_wants_now = [("a", Some(1)), ("b", None)];
    let answer = read_all(&server, &one_wants_now).await.unwrap();
    assert_eq!(answer.served_from(), Primary);
    // Somebody without a cache changes one of them: it lies there at its old version.
    let without = Stockroom::on(home, |_| {}).await;
    without
        .client
        .create_order(order("o", &[("b", 1)]))
        .await
        .unwrap();
    let newer = [("a", Some(1)), ("b", Some(2))];
    let answer = read_all(&server, &newer).await.unwrap();
    assert_eq!(answer.served_from(), Primary);
    assert_eq!(answer.levels[1].version, 2);
    assert_eq!(
        read_all(&server, &newer).await.unwrap().served_from(),
        Cache
    );
    let too_new = read_all(&server, &[("a", Some(1)), ("b", Some(3))]).await;
    refusal(too_new).is(Code::FailedPrecondition, "VERSION_NOT_REACHED");
}

async fn unknown_skus_and_levels_without_stock_are_not_cached(store: StoreKind, redis: Redis) {
    let server = start(store, &redis).await;
    for _ in 0..3 {
        let refused = refusal(server.inventory().get_stock(at_least("new", 0)).await);
        refused.is(Code::NotFound, "SKU_NOT_FOUND");
    }
    // It is known from now on, and later its threshold changes without a version.
    for threshold in [0, 5] {
        put(&server.client, "new", threshold).await;
        assert_eq!(read(&server.client, "new", 0).await, (Primary, 0, 0));
        let now = server.client.get_stock(at_least("new", 0)).await.unwrap();
        assert_eq!(now.level.unwrap().low_stock, threshold > 0);
    }
    assert_eq!(server.counters.cache.writes.get(), 0);
}

async fn a_threshold_that_changes_is_read_with_its_version(store: StoreKind, redis: Redis) {
    let server = start(store, &redis).await;
    stock(&server.client, "a", 5).await;
    put(&server.client, "a", 9).await;
    let answer = server.client.get_stock(at_least("a", 2)).await.unwrap();
    let level = answer.level.unwrap();
    assert!(level.low_stock && level.version == 2, "{level:?}");
}

async fn a_level_ends_in_the_cache_after_its_time(store: StoreKind, redis: Redis) {
    let home = Home::new(store);
    let server = redis
        .cached(home.clone(), |config| config.cache.ttl_ms = 300)
        .await;
    stock(&server.client, "a", 5).await;
    cache_is_written(&server).await;
    // A write that the cache is not told of, as if it had been lost on the way.
    let without = Stockroom::on(home, |_| {}).await;
    without
        .client
        .create_order(order("o", &[("a", 1)]))
        .await
        .unwrap();
    eventually("the old level has ended", async || {
        read(&server.client, "a", 0).await.1 == 2
    })
    .await;
}

async fn another_store_never_sees_what_this_one_cached(store: StoreKind, redis: Redis) {
    let (home, other) = (Home::new(store), Home::new(store));
    let first = redis.cached(home.clone(), |_| {}).await;
    let second = redis.cached(other, |_| {}).await;
    stock(&first.client, "a", 1).await;
    cache_is_written(&first).await;
    let refused = refusal(second.inventory().get_stock(at_least("a", 0)).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    // The same store, after it lost commits: what it cached before counts no more.
    home.sql(
        "UPDATE stock_level SET on_hand = 7; UPDATE movement SET on_hand = 7, on_hand_delta = 7",
    );
    assert_eq!(read(&first.client, "a", 0).await, (Cache, 1, 1));
    home.sql("UPDATE store SET store_id = gen_random_uuid()");
    // The server begins anew then, and is away for a moment.
    eventually("the new id is noticed", async || {
        let answer = first.client.get_stock(at_least("a", 0)).await;
        answer.is_ok_and(|answer| answer.level.unwrap().on_hand == 7)
    })
    .await;
    assert_eq!(read(&first.client, "a", 1).await.2, 7);
}

async fn a_product_that_was_deleted_is_unknown_until_it_is_put_again(
    store: StoreKind,
    redis: Redis,
) {
    let home = Home::new(store);
    let first = redis.cached(home.clone(), |_| {}).await;
    let second = redis.cached(home, |_| {}).await;
    stock(&first.client, "a", 1).await;
    let last = order("o", &[("a", 1)]);
    first.client.create_order(last).await.unwrap();
    cache_is_written(&first).await;
    assert_eq!(read(&second.client, "a", 2).await, (Cache, 2, 0));
    let deletion = DeleteProductRequest {
        sku: "a".to_owned(),
        ..DeleteProductRequest::default()
    };
    first.client.delete_product(deletion).await.unwrap();
    let is_unknown = async |server: &Stockroom| {
        for min_version in [0, 2, 3] {
            let one = at_least("a", min_version);
            let one = server.inventory().get_stock(one).await;
            refusal(one).is(Code::NotFound, "SKU_NOT_FOUND");
            let batch = read_all(server, &[("a", Some(min_version))]).await;
            refusal(batch).is(Code::NotFound, "SKU_NOT_FOUND");
        }
    };
    // At once here, whatever Redis has, and then wherever that is asked.
    is_unknown(&first).await;
    cache_is_written(&first).await;
    is_unknown(&first).await;
    is_unknown(&second).await;
    put(&first.client, "a", 0).await;
    let more = received("more", "a", 5);
    first.client.adjust_stock(more).await.unwrap();
    let version = level(&first.client, "a").await.version;
    for server in [&first, &second] {
        eventually("it is cached again", async || {
            read(&server.client, "a", version).await == (Cache, version, 5)
        })
        .await;
    }
}

async fn an_older_version_never_replaces_a_later_one(store: StoreKind) {
    /// Longer than an order and its way into the cache.
    const LATE: Duration = Duration::from_secs(1);
    let (redis, config) = Redis::own();
    let address = redis.url();
    let address = address.strip_prefix("redis://").unwrap();
    let proxy = Proxy::before(address.parse().unwrap()).await;
    let home = Home::new(store);
    let late = config.cached(home.clone(), |config| {
        config.redis.urls = vec![format!("redis://{}", proxy.addr)];
        config.redis.timeout_ms = 10_000;
    });
    let (late, soon) = (late.await, config.cached(home, |_| {}).await);
    stock(&late.client, "a", 1_000).await;
    cache_is_written(&late).await;
    proxy.set(Line::Delayed {
        to_server: LATE,
        to_client: Duration::ZERO,
    });
    let mut sold = 0;
    eventually("a write arrives after a later one", async || {
        // What the first of them writes is on its way while the second sells and writes.
        for server in [&late, &soon] {
            sold += 1;
            let request = order(&format!("o-{sold}"), &[("a", 1)]);
            server.client.create_order(request).await.unwrap();
        }
        let last = (Cache, 1 + sold, 1_000 - sold);
        cache_is_written(&soon).await;
        assert_eq!(read(&soon.client, "a", 0).await, last);
        cache_is_written(&late).await;
        assert_eq!(read(&soon.client, "a", 0).await, last);
        late.counters.cache.refused.get() > 0
    })
    .await;
}
