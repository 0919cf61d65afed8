//! A Redis that answers and takes no writes: what lies there only gets older.

use std::time::{Duration, Instant};

use stockroom::client::proto::ServedFrom::{Cache, Primary};

use super::{Redis, cache_is_asked, cache_is_not_asked, cache_is_written, on_own_redis, read};
use crate::api::{order, stock};
use crate::fixture::{Home, StoreKind};

on_own_redis! {
    a_redis_that_takes_no_writes_is_left_alone_until_it_does,
}

async fn a_redis_that_takes_no_writes_is_left_alone_until_it_does(store: StoreKind) {
    // It is full; it is a replica now.
    let faults: [[&[&str]; 2]; 2] = [
        [
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
        ],
        [
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
        ],
    ];
    let (redis, config) = Redis::own();
    let server = config.cached(Home::new(store), |_| {}).await;
    stock(&server.client, "a", 100).await;
    cache_is_written(&server).await;
    let failures = &server.counters.cache.link.failures;
    for (sold, [begin, end]) in (1..).zip(faults) {
        assert_eq!(read(&server.client, "a", 0).await.0, Cache);
        redis.tell(begin);
        let sale = order(&format!("o-{sold}"), &[("a", 1)]);
        server.client.create_order(sale).await.unwrap();
        cache_is_not_asked(&server).await;
        // It is looked at again and again meanwhile, and found as it was.
        let (asked, until) = (failures.get(), Instant::now() + Duration::from_secs(1));
        while Instant::now() < until {
            let now = (Primary, 1 + sold, 100 - sold);
            assert_eq!(read(&server.client, "a", 0).await, now);
        }
        assert_eq!(failures.get(), asked, "it was asked");
        redis.tell(end);
        cache_is_asked(&server).await;
        cache_is_written(&server).await;
        let now = (Cache, 1 + sold, 100 - sold);
        assert_eq!(read(&server.client, "a", 0).await, now);
    }
}
