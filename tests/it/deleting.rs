//! DeleteProduct: the SKU is unknown afterwards, and its versions are never used again.

use std::time::Duration;

use futures_util::StreamExt as _;
use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{
    DeleteProductRequest, GetProductRequest, GetStockRequest, ListMovementsRequest,
    ListProductsRequest, ListStockRequest, MovementKind, StockKey,
};
use stockroom::client::{Client, WatchTargets};
use tonic::Code;

use crate::api::{counted, level, order, product, put, received, refusal, stock};
use crate::fixture::{DEADLINE, Stockroom, StoreKind, eventually};
use crate::proxy::{Line, Proxy};

on_each_store! {
    a_deleted_product_is_unknown_and_its_history_stays,
    a_product_with_stock_is_not_deleted_and_every_level_is_named,
    a_product_that_is_put_again_goes_on_from_its_versions,
    watchers_see_a_product_go_and_come_back,
    a_deletion_can_be_tried_without_effect,
    a_deletion_whose_answer_was_lost_is_repeated_with_success,
}

fn deletion(sku: &str) -> DeleteProductRequest {
    DeleteProductRequest {
        sku: sku.to_owned(),
        ..DeleteProductRequest::default()
    }
}

fn at(sku: &str) -> GetStockRequest {
    GetStockRequest {
        sku: sku.to_owned(),
        ..GetStockRequest::default()
    }
}

/// The kinds of the movements of a level.
async fn kinds(server: &Stockroom, sku: &str) -> Vec<MovementKind> {
    let request = ListMovementsRequest {
        scope: Some(Scope::Level(StockKey {
            sku: sku.to_owned(),
            location: String::new(),
        })),
        ..ListMovementsRequest::default()
    };
    let page = server.client.list_movements(request).await.unwrap();
    page.movements.iter().map(|m| m.kind()).collect()
}

async fn a_deleted_product_is_unknown_and_its_history_stays(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    put(&server.client, "bare", 0).await;
    let all = order("all", &[("a", 10)]);
    server.client.create_order(all.clone()).await.unwrap();
    for sku in ["a", "bare"] {
        server.client.delete_product(deletion(sku)).await.unwrap();
        let unknown = |refused: crate::api::Refusal| {
            refused.is(Code::NotFound, "SKU_NOT_FOUND");
        };
        let mut inventory = server.inventory();
        let get = GetProductRequest {
            sku: sku.to_owned(),
        };
        unknown(refusal(inventory.get_product(get).await));
        unknown(refusal(inventory.get_stock(at(sku)).await));
        unknown(refusal(inventory.delete_product(deletion(sku)).await));
        let more = received(&format!("more-{sku}"), sku, 1);
        unknown(refusal(inventory.adjust_stock(more).await));
        let mut elsewhere = received(&format!("york-{sku}"), sku, 1);
        elsewhere.location = "york".to_owned();
        unknown(refusal(inventory.adjust_stock(elsewhere).await));
        let one = order(&format!("one-{sku}"), &[(sku, 1)]);
        unknown(refusal(server.orders().create_order(one).await));
    }
    let levels = server.client.list_stock(ListStockRequest::default()).await;
    assert!(levels.unwrap().levels.is_empty());
    let products = server.client.list_products(ListProductsRequest::default());
    assert!(products.await.unwrap().products.is_empty());
    let [received, ordered, deleted] = kinds(&server, "a").await[..] else {
        panic!("three movements")
    };
    assert_eq!(received, MovementKind::Received);
    assert_eq!(ordered, MovementKind::Ordered);
    assert_eq!(deleted, MovementKind::Deleted);
    // What was answered is still answered.
    assert!(server.client.create_order(all).await.unwrap().replayed);
}

async fn a_product_with_stock_is_not_deleted_and_every_level_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut york = received("york", "a", 3);
    york.location = "york".to_owned();
    server.client.adjust_stock(york).await.unwrap();
    let mut attic = counted("attic", "a", 0);
    attic.location = "attic".to_owned();
    server.client.adjust_stock(attic).await.unwrap();
    let refused = refusal(server.inventory().delete_product(deletion("a")).await);
    refused.is(Code::FailedPrecondition, "STOCK_REMAINS");
    let said = refused.unmet();
    let each = [
        ("a@main", "on_hand 10, reserved 0"),
        ("a@york", "on_hand 3, reserved 0"),
    ];
    assert_eq!(said, each);
    assert_eq!(level(&server.client, "a").await.version, 1);
}

async fn a_product_that_is_put_again_goes_on_from_its_versions(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    put(&server.client, "a", 5).await;
    server
        .client
        .adjust_stock(counted("none", "a", 0))
        .await
        .unwrap();
    server.client.delete_product(deletion("a")).await.unwrap();
    let request = stockroom::client::proto::PutProductsRequest {
        products: vec![product("a", 5)],
        ..Default::default()
    };
    let put = server.client.put_products(request).await.unwrap();
    assert_eq!((put.created, put.updated), (1, 0));
    let back = level(&server.client, "a").await;
    assert_eq!((back.version, back.on_hand, back.low_stock), (5, 0, true));
    let first = received("first", "a", 7);
    let first = server.client.adjust_stock(first).await.unwrap();
    assert_eq!(first.level.unwrap().version, 6);
    let kinds = kinds(&server, "a").await;
    assert_eq!(
        kinds[3..5],
        [MovementKind::Deleted, MovementKind::Threshold]
    );
}

async fn watchers_see_a_product_go_and_come_back(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut watch = server.client.watch(WatchTargets::all());
    let mut levels = watch.levels();
    let mut next = async || {
        let level = levels.next().await.unwrap().unwrap();
        (level.version, level.on_hand)
    };
    assert_eq!(next().await, (1, 10));
    server
        .client
        .adjust_stock(counted("none", "a", 0))
        .await
        .unwrap();
    assert_eq!(next().await, (2, 0));
    server.client.delete_product(deletion("a")).await.unwrap();
    assert_eq!(next().await, (3, 0));
    put(&server.client, "a", 0).await;
    assert_eq!(next().await, (4, 0));
    server
        .client
        .adjust_stock(received("back", "a", 2))
        .await
        .unwrap();
    assert_eq!(next().await, (5, 2));
}

async fn a_deletion_can_be_tried_without_effect(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let tried = |sku| DeleteProductRequest {
        validate_only: true,
        ..deletion(sku)
    };
    let mut inventory = server.inventory();
    let refused = refusal(inventory.delete_product(tried("a")).await);
    refused.is(Code::FailedPrecondition, "STOCK_REMAINS");
    let refused = refusal(inventory.delete_product(tried("unknown")).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    server
        .client
        .adjust_stock(counted("none", "a", 0))
        .await
        .unwrap();
    server.client.delete_product(tried("a")).await.unwrap();
    assert_eq!(level(&server.client, "a").await.version, 2);
}

async fn a_deletion_whose_answer_was_lost_is_repeated_with_success(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    let proxy = Proxy::before(server.addr).await;
    let far = Client::connect(&format!("http://{}", proxy.addr), 1).await;
    let far = far.unwrap().retrying();
    // What was never there is not said to be deleted.
    let unknown = far.delete_product(&deletion("b")).await.unwrap_err();
    assert_eq!(unknown.reason, "SKU_NOT_FOUND");
    proxy.set(Line::Delayed {
        to_server: Duration::ZERO,
        to_client: DEADLINE,
    });
    let deleting = tokio::spawn({
        let far = far.clone();
        async move { far.delete_product(&deletion("a")).await }
    });
    eventually("the product is gone", async || {
        let found = server.client.get_product(GetProductRequest {
            sku: "a".to_owned(),
        });
        found.await.is_err()
    })
    .await;
    proxy.set(Line::Up);
    proxy.cut();
    deleting.await.unwrap().unwrap();
    assert!(far.retries() > 0);
    let mut trial = deletion("a");
    trial.validate_only = true;
    let unknown = far.delete_product(&trial).await.unwrap_err();
    assert_eq!(unknown.reason, "SKU_NOT_FOUND");
}

mod other_instances {
    use stockroom::client::proto::stock_selector::Selector;
    use stockroom::client::proto::{AdjustStockRequest, StockSelector};
    use stockroom::config::Config;
    use tokio::time::timeout;

    use super::*;
    use crate::api::batch_of;
    use crate::watching::{Watcher, everything, watch_of};

    on_postgres! { a_deletion_that_no_hint_names_reaches_whoever_watches_elsewhere }

    /// More levels than a hint can name: of a change of all of them it says "anything".
    const PLACES: usize = 100;

    fn place(number: usize) -> String {
        format!("{number:064}")
    }

    fn selector(selector: Selector) -> StockSelector {
        StockSelector {
            selector: Some(selector),
        }
    }

    /// Puts a product whose levels are empty and at version 2.
    async fn put_empty(client: &Client, sku: &str) {
        put(client, sku, 0).await;
        for (request_id, request) in [("in", received("", sku, 1)), ("out", counted("", sku, 0))] {
            let at_each_place = (0..PLACES).map(|number| AdjustStockRequest {
                location: place(number),
                ..request.clone()
            });
            let batch = batch_of(&format!("{request_id}-{sku}"), at_each_place);
            client.batch_adjust_stock(batch).await.unwrap();
        }
    }

    /// The versions of a product's levels as a watcher has them.
    fn versions(watcher: &Watcher, sku: &str) -> Vec<i64> {
        let levels = watcher.latest.values();
        let of_product = levels.filter(|level| level.sku == sku);
        of_product.map(|level| level.version).collect()
    }

    async fn a_deletion_that_no_hint_names_reaches_whoever_watches_elsewhere(store: StoreKind) {
        let earlier = Stockroom::start(store).await;
        put_empty(&earlier.client, "x0").await;
        earlier.client.delete_product(deletion("x0")).await.unwrap();
        let home = earlier.home.clone();
        drop(earlier);
        // By itself the re-read comes too late: what asks for it are hints that name nothing.
        let rarely = |config: &mut Config| config.watch.reread_interval_ms = 60_000;
        let here = Stockroom::on(home.clone(), rarely).await;
        let there = Stockroom::on(home, rarely).await;
        let mut brought = 0;
        // In this order each is read in pages of its own, though a watch before may linger.
        for (sku, levels, selector) in [
            ("x1", 1, selector(Selector::Location(place(7)))),
            ("x2", PLACES, selector(Selector::SkuPrefix("x".to_owned()))),
            ("x3", PLACES, everything()),
        ] {
            put_empty(&there.client, sku).await;
            let mut watcher = Watcher::synced(&here, watch_of(vec![selector])).await;
            assert_eq!(versions(&watcher, sku), vec![2; levels]);
            there.client.delete_product(deletion(sku)).await.unwrap();
            let told = timeout(DEADLINE, async {
                while versions(&watcher, sku) != vec![3; levels] {
                    watcher.next().await;
                }
            });
            told.await.expect("the deletion is told of");
            brought += levels as u64;
            eventually("the re-read brought it", async || {
                here.counters.watches.reread_repairs.get() >= brought
            })
            .await;
            assert_eq!(versions(&watcher, "x0"), [0; 0], "it was gone before");
        }
    }
}
