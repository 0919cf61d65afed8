//! What a reader sees who joins the read of another one that began before.

use std::sync::Arc;
use std::time::Duration;

use stockroom::client::proto::GetStockResponse;
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};

use super::{Redis, at_least, on_own_redis};
use crate::api::{Refusal, put};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::proxy::{Action, Place, Proxy};

on_own_redis! {
    a_product_that_was_put_is_found_by_who_joins_a_read_from_before,
}

/// Requests to the database that a read takes at most: it may have to see whether a
/// connection is still good, and to prepare its statement there.
const REQUESTS_MAX: usize = 3;

/// Reads that are held up, each after another one of its requests: the last one, which is
/// the read itself, is another from connection to connection.
const READS: usize = 12;

/// Reads a level of any version.
fn get(server: &Stockroom, sku: &str) -> JoinHandle<Result<Response<GetStockResponse>, Status>> {
    let (mut inventory, request) = (server.inventory(), at_least(sku, 0));
    tokio::spawn(async move { inventory.get_stock(request).await })
}

async fn a_product_that_was_put_is_found_by_who_joins_a_read_from_before(store: StoreKind) {
    let (_redis, config) = Redis::own();
    let home = Home::new(store);
    let there = Stockroom::on(Arc::clone(&home), |_| {}).await;
    let proxy = Proxy::before_database_of(&home).await;
    let url = proxy.url(&home);
    let here = config.cached(home, |config| config.store.url = url).await;
    let misses = &here.counters.cache.misses;
    let mut joined = 0;
    for number in 0..READS {
        let sku = format!("new-{number}");
        let before = misses.get();
        let strike = proxy.arm(number % REQUESTS_MAX, Place::AfterReply, Action::Hold);
        let first = get(&here, &sku);
        eventually("it strikes, or the answer comes", async || {
            strike.has_struck() || first.is_finished()
        })
        .await;
        put(&there.client, &sku, 0).await;
        let second = get(&here, &sku);
        eventually("both have missed it", async || misses.get() == before + 2).await;
        let is_held = !first.is_finished();
        strike.release(Action::Delay(Duration::ZERO));
        // Read before the product was put, or after it.
        if let Err(status) = first.await.unwrap() {
            Refusal::of(&status).is(Code::NotFound, "SKU_NOT_FOUND");
            joined += usize::from(is_held);
        }
        let answer = second.await.unwrap().expect("the product was put before");
        assert_eq!(answer.into_inner().level.unwrap().version, 0);
    }
    assert!(joined > 0, "nobody joined a read from before");
}
