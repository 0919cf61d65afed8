//! `cache.fast_refusal`: floods after a sell-out are refused without the engine, and
//! nobody who has an order, or could have one, is.

use futures_util::future::join_all;
use stockroom::config::Switch;

use super::{Redis, cache_is_written, on_each_redis, on_own_redis};
use crate::api::{order, received, stock};
use crate::backorders::{put_limited, stock_limited};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};

on_each_redis! {
    a_flood_after_a_sell_out_is_refused_on_the_cache,
    the_repeat_of_an_order_that_was_made_gets_that_order,
    a_restock_on_another_instance_ends_the_refusals,
    every_shortfall_is_told,
    what_may_go_on_backorder_is_not_refused,
}

on_own_redis! {
    without_redis_the_engine_refuses,
}

async fn refusing(redis: &Redis, home: std::sync::Arc<Home>) -> Stockroom {
    redis
        .cached(home, |config| config.cache.fast_refusal = Switch::On)
        .await
}

/// Orders a unit of `sku` and says whether it was refused for want of stock.
async fn is_refused(server: &Stockroom, request_id: &str, sku: &str) -> bool {
    match server
        .client
        .create_order(order(request_id, &[(sku, 1)]))
        .await
    {
        Ok(_) => false,
        Err(error) if error.reason == "INSUFFICIENT_STOCK" => true,
        Err(error) => panic!("{error}"),
    }
}

/// Orders until one is refused on the cache.
async fn until_refused_on_the_cache(server: &Stockroom, sku: &str) {
    let refusals = &server.counters.cache.refusals;
    let (before, mut asked) = (refusals.get(), 0);
    eventually("an order is refused on the cache", async || {
        asked += 1;
        assert!(is_refused(server, &format!("{sku}-in-vain-{asked}"), sku).await);
        refusals.get() > before
    })
    .await;
}

async fn a_flood_after_a_sell_out_is_refused_on_the_cache(store: StoreKind, redis: Redis) {
    let server = refusing(&redis, Home::new(store)).await;
    stock(&server.client, "hot", 10).await;
    let sold = join_all((0..64).map(async |i| {
        let refused = is_refused(&server, &format!("o-{i}"), "hot").await;
        i64::from(!refused)
    }));
    assert_eq!(sold.await.iter().sum::<i64>(), 10);
    cache_is_written(&server).await;
    until_refused_on_the_cache(&server, "hot").await;
    let (refusals, commits) = (
        &server.counters.cache.refusals,
        &server.counters.commit.made,
    );
    let (before, commits_before) = (refusals.get(), commits.get());
    let flood = join_all((0..100).map(|i| {
        let server = &server;
        async move { is_refused(server, &format!("late-{i}"), "hot").await }
    }));
    assert!(flood.await.into_iter().all(|refused| refused));
    assert_eq!(refusals.get() - before, 100);
    assert_eq!(commits.get(), commits_before);
}

async fn the_repeat_of_an_order_that_was_made_gets_that_order(store: StoreKind, redis: Redis) {
    let server = refusing(&redis, Home::new(store)).await;
    stock(&server.client, "hot", 1).await;
    let last = order("last", &[("hot", 1)]);
    let made = server.client.create_order(last.clone()).await.unwrap();
    until_refused_on_the_cache(&server, "hot").await;
    for _ in 0..20 {
        let again = server.client.create_order(last.clone()).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.order, made.order);
    }
    let reused = server.client.create_order(order("last", &[("hot", 2)]));
    assert_eq!(reused.await.unwrap_err().reason, "REQUEST_ID_REUSED");
}

async fn a_restock_on_another_instance_ends_the_refusals(store: StoreKind, redis: Redis) {
    let home = Home::new(store);
    let server = refusing(&redis, home.clone()).await;
    let other = refusing(&redis, home).await;
    stock(&server.client, "hot", 1).await;
    assert!(!is_refused(&server, "first", "hot").await);
    for round in 0..5 {
        until_refused_on_the_cache(&server, "hot").await;
        let restock = received(&format!("r-{round}"), "hot", 1);
        other.client.adjust_stock(restock).await.unwrap();
        cache_is_written(&other).await;
        assert!(!is_refused(&server, &format!("sold-{round}"), "hot").await);
        cache_is_written(&server).await;
    }
}

async fn every_shortfall_is_told(store: StoreKind, redis: Redis) {
    let server = refusing(&redis, Home::new(store)).await;
    for sku in ["a", "b", "plenty"] {
        stock(&server.client, sku, if sku == "plenty" { 100 } else { 1 }).await;
    }
    cache_is_written(&server).await;
    // Lines of one level are summed.
    let wide = [("a", 1), ("plenty", 5), ("a", 1), ("b", 3)];
    let refused = server.client.create_order(order("wide", &wide)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, "INSUFFICIENT_STOCK");
    let said = refused.to_string();
    assert!(said.contains("a@main") && said.contains("b@main"), "{said}");
    assert!(!said.contains("plenty"), "{said}");
    assert_eq!(server.counters.cache.refusals.get(), 1);
    // One level of it is not cached: it could be short as well.
    let unknown = [("a", 2), ("unknown", 1)];
    let refused = server.client.create_order(order("unknown", &unknown)).await;
    assert_eq!(refused.unwrap_err().reason, "SKU_NOT_FOUND");
}

async fn what_may_go_on_backorder_is_not_refused(store: StoreKind, redis: Redis) {
    let server = refusing(&redis, Home::new(store)).await;
    stock_limited(&server.client, "hot", 1, 2).await;
    for i in 0..3 {
        assert!(!is_refused(&server, &format!("sold-{i}"), "hot").await);
        cache_is_written(&server).await;
    }
    until_refused_on_the_cache(&server, "hot").await;
    put_limited(&server.client, "hot", 3).await;
    cache_is_written(&server).await;
    assert!(!is_refused(&server, "one-more", "hot").await);
}

async fn without_redis_the_engine_refuses(store: StoreKind) {
    let (server_of_redis, redis) = Redis::own();
    let server = refusing(&redis, Home::new(store)).await;
    stock(&server.client, "hot", 1).await;
    assert!(!is_refused(&server, "first", "hot").await);
    server_of_redis.kill();
    for i in 0..20 {
        assert!(is_refused(&server, &format!("late-{i}"), "hot").await);
    }
}
