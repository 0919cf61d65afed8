//! Putting products while others sell them, or put them too.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use stockroom::client::Client;
use stockroom::client::proto::PutProductsRequest;

use crate::api::{level, order, product, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holding::{Hold, waiting_sessions};

on_postgres! {
    a_product_that_another_instance_sells_waits_its_turn,
    of_products_that_two_put_together_one_has_put_all,
    products_that_are_put_as_they_are_wait_for_nobody,
}

async fn a_product_that_another_instance_sells_waits_its_turn(store: StoreKind) {
    const CALLERS: usize = 32;
    let home = Home::new(store);
    let putting = Stockroom::on(home.clone(), |_| {}).await;
    let selling = Stockroom::on(home, |_| {}).await;
    stock(&selling.client, "hot", 1_000_000).await;
    let is_put = AtomicBool::new(false);
    let callers = (0..CALLERS).map(|caller| {
        let (client, is_put) = (selling.client.retrying(), &is_put);
        async move {
            for i in 0.. {
                let request = order(&format!("{caller}-{i}"), &[("hot", 1)]);
                client.create_order(&request).await.unwrap();
                if is_put.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    });
    let puts = async {
        for threshold in 1..=20 {
            // By a client that does not ask twice.
            put_all(&putting.client, &[("hot", threshold)]).await;
        }
        is_put.store(true, Ordering::Relaxed);
    };
    join(join_all(callers), puts).await;
    let level = level(&putting.client, "hot").await;
    assert!(!level.low_stock);
    assert_eq!(putting.counters.conflicts.get(), 0);
}

/// SKUs and their thresholds.
async fn put_all(client: &Client, products: &[(&str, i64)]) {
    let products = products.iter();
    let products = products.map(|&(sku, threshold)| product(sku, threshold));
    let request = PutProductsRequest {
        products: products.collect(),
        ..Default::default()
    };
    client.put_products(request).await.unwrap();
}

async fn of_products_that_two_put_together_one_has_put_all(store: StoreKind) {
    let home = Home::new(store);
    let one = Stockroom::on(home.clone(), |_| {}).await;
    let other = Stockroom::on(home.clone(), |_| {}).await;
    put_all(&one.client, &[("0", 1), ("a", 1), ("b", 5)]).await;
    // To the one that waits, `a` is as it is to be.
    let hold = Hold::on_rows(&home, "product WHERE sku = '0'").await;
    let waiting = put_all(&one.client, &[("0", 3), ("a", 1), ("b", 1)]);
    let overtaking = async {
        eventually("it waits", async || waiting_sessions(&home) > 0).await;
        put_all(&other.client, &[("a", 9), ("b", 9)]).await;
        drop(hold);
    };
    join(waiting, overtaking).await;
    let thresholds = "SELECT sku, low_stock_threshold FROM product ORDER BY sku";
    assert_eq!(home.sql(thresholds), "0|3\na|1\nb|1");
}

async fn products_that_are_put_as_they_are_wait_for_nobody(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put_all(&server.client, &[("a", 1), ("b", 5)]).await;
    let hold = Hold::on_rows(&server.home, "product WHERE sku = 'a'").await;
    put_all(&server.client, &[("a", 1), ("b", 5)]).await;
    drop(hold);
}
