//! WatchStock's selectors: what each shows, together and after a resume.

use stockroom::client::proto::stock_selector::Selector;
use stockroom::client::proto::{
    AdjustStockRequest, ListStockRequest, LowLevels, PutProductsRequest, SeenLevel, StockLevel,
    StockSelector, WatchStockRequest,
};
use tonic::Code;

use crate::api::{batch_of, counted, order, product, put, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};
use crate::watching::{Watcher, level_of, seen, watch_of};

on_each_store! {
    a_watch_by_prefix_shows_what_begins_so,
    a_watch_by_location_shows_what_lies_there,
    a_watch_of_low_levels_shows_them_come_and_go,
    a_watch_of_low_levels_resumes_and_learns_what_is_low_no_more,
    a_low_level_behind_thousands_that_are_not_is_found_behind_a_short_page,
    selectors_and_seen_levels_are_one_union,
    a_selector_that_is_not_one_is_refused_by_name,
}

fn selector(selector: Selector) -> StockSelector {
    StockSelector {
        selector: Some(selector),
    }
}

fn prefix(text: &str) -> StockSelector {
    selector(Selector::SkuPrefix(text.to_owned()))
}

fn location(name: &str) -> StockSelector {
    selector(Selector::Location(name.to_owned()))
}

fn low_ones() -> StockSelector {
    selector(Selector::LowOnly(LowLevels {}))
}

fn received_at(location: &str, request_id: &str, sku: &str) -> AdjustStockRequest {
    AdjustStockRequest {
        location: location.to_owned(),
        ..received(request_id, sku, 10)
    }
}

async fn sell(server: &Stockroom, sku: &str) {
    let request = order(&uuid::Uuid::now_v7().to_string(), &[(sku, 1)]);
    server.client.create_order(request).await.unwrap();
}

/// Sets a level that is low at or below 10.
async fn count(server: &Stockroom, sku: &str, on_hand: i64) {
    let request = counted(&uuid::Uuid::now_v7().to_string(), sku, on_hand);
    server.client.adjust_stock(request).await.unwrap();
}

async fn a_watch_by_prefix_shows_what_begins_so(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["85123A", "85123B", "85", "8", "9"] {
        stock(&server.client, sku, 10).await;
    }
    let selectors = vec![prefix("85"), prefix("85123")];
    let mut watcher = Watcher::synced(&server, watch_of(selectors)).await;
    let snapshot = [("85", 1), ("85123A", 1), ("85123B", 1)];
    assert_eq!(watcher.versions(), snapshot);
    for sku in ["8", "9", "85"] {
        sell(&server, sku).await;
    }
    stock(&server.client, "85-new", 1).await;
    watcher.until("85-new", 1).await;
    let versions = [("85", 2), ("85-new", 1), ("85123A", 1), ("85123B", 1)];
    assert_eq!(watcher.versions(), versions, "8 and 9 do not begin so");
}

async fn a_watch_by_location_shows_what_lies_there(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b", "c"] {
        stock(&server.client, sku, 10).await;
    }
    let receive = async |place: &str, sku: &str| {
        let request_id = uuid::Uuid::now_v7().to_string();
        let request = received_at(place, &request_id, sku);
        server.client.adjust_stock(request).await.unwrap();
    };
    receive("back-room", "a").await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![location("back-room")])).await;
    assert_eq!(watcher.versions(), [("a", 1)]);
    receive("attic", "b").await;
    receive("main", "a").await;
    receive("back-room", "c").await;
    receive("back-room", "a").await;
    let there = |sku: &str| (sku.to_owned(), "back-room".to_owned());
    while watcher.latest.get(&there("a")).unwrap().version < 2 {
        watcher.next().await;
    }
    let places = watcher.latest.keys().map(|(_, place)| place.as_str());
    assert!(places.into_iter().all(|place| place == "back-room"));
    assert_eq!(watcher.versions(), [("a", 2), ("c", 1)]);
}

async fn a_watch_of_low_levels_shows_them_come_and_go(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for (sku, on_hand) in [("a", 5), ("b", 50)] {
        put(&server.client, sku, 10).await;
        count(&server, sku, on_hand).await;
    }
    stock(&server.client, "never-low", 1).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![low_ones()])).await;
    assert_eq!(watcher.versions(), [("a", 1)]);
    let is_low = |level: StockLevel| level.low_stock;
    // Turns on, changes while it is on, turns off.
    count(&server, "b", 10).await;
    assert!(is_low(watcher.until("b", 2).await));
    count(&server, "b", 9).await;
    assert!(is_low(watcher.until("b", 3).await));
    count(&server, "b", 11).await;
    assert!(!is_low(watcher.until("b", 4).await));
    // What is not low is not shown any more.
    count(&server, "b", 12).await;
    count(&server, "a", 20).await;
    assert!(!is_low(watcher.until("a", 2).await));
    assert_eq!(watcher.versions(), [("a", 2), ("b", 4)]);
    // A threshold turns it on as well.
    put(&server.client, "b", 100).await;
    assert!(is_low(watcher.until("b", 6).await));
}

async fn a_watch_of_low_levels_resumes_and_learns_what_is_low_no_more(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b"] {
        put(&server.client, sku, 10).await;
        count(&server, sku, 5).await;
    }
    let watcher = Watcher::synced(&server, watch_of(vec![low_ones()])).await;
    assert_eq!(watcher.versions(), [("a", 1), ("b", 1)]);
    let request = WatchStockRequest {
        seen: watcher.seen(),
        ..watch_of(vec![low_ones()])
    };
    drop(watcher);
    count(&server, "a", 100).await;
    let watcher = Watcher::synced(&server, request).await;
    assert_eq!(watcher.versions(), [("a", 2)]);
    assert!(!watcher.level("a").unwrap().low_stock);
}

async fn a_low_level_behind_thousands_that_are_not_is_found_behind_a_short_page(store: StoreKind) {
    /// More than a page passes over.
    const OTHERS: usize = 2_500;
    let server = Stockroom::start(store).await;
    let skus: Vec<String> = (0..OTHERS).map(|i| format!("a{i}")).collect();
    for (i, skus) in skus.chunks(250).enumerate() {
        let products = PutProductsRequest {
            products: skus.iter().map(|sku| product(sku, 0)).collect(),
            ..PutProductsRequest::default()
        };
        server.client.put_products(products).await.unwrap();
        let opening = skus.iter().map(|sku| received("", sku, 1));
        let opening = batch_of(&format!("opening-{i}"), opening);
        server.client.batch_adjust_stock(opening).await.unwrap();
    }
    put(&server.client, "b", 10).await;
    count(&server, "b", 5).await;
    let mut request = ListStockRequest {
        low_only: true,
        ..ListStockRequest::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = server.client.list_stock(request.clone()).await.unwrap();
        let skus = page.levels.into_iter().map(|level| level.sku);
        pages.push(skus.collect::<Vec<_>>());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec![], vec!["b".to_owned()]]);
    let watcher = Watcher::synced(&server, watch_of(vec![low_ones()])).await;
    assert_eq!(watcher.versions(), [("b", 1)]);
}

async fn selectors_and_seen_levels_are_one_union(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["ab", "ac", "b", "c", "d"] {
        put(&server.client, sku, 10).await;
        count(&server, sku, if sku == "c" { 5 } else { 50 }).await;
    }
    let request = WatchStockRequest {
        seen: vec![seen("ab", 1), seen("b", 0)],
        ..watch_of(vec![prefix("a"), low_ones(), level_of("ab"), level_of("x")])
    };
    let mut watcher = Watcher::synced(&server, request).await;
    let snapshot = [("ac", 1), ("b", 1), ("c", 1), ("x", 0)];
    assert_eq!(watcher.versions(), snapshot);
    for sku in ["ab", "ac", "b", "c", "d"] {
        sell(&server, sku).await;
    }
    sell(&server, "c").await;
    watcher.until("c", 3).await;
    let versions = [("ab", 2), ("ac", 2), ("b", 2), ("c", 3), ("x", 0)];
    assert_eq!(watcher.versions(), versions);
}

async fn a_selector_that_is_not_one_is_refused_by_name(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let selectors = vec![
        prefix(""),
        prefix("a b"),
        location(""),
        location("ü"),
        StockSelector { selector: None },
        level_of(""),
    ];
    let answer = server.inventory().watch_stock(watch_of(selectors)).await;
    let refused = refusal(answer.map(drop));
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    let fields = [
        "selectors[0].sku_prefix",
        "selectors[1].sku_prefix",
        "selectors[2].location",
        "selectors[3].location",
        "selectors[4]",
        "selectors[5].level.sku",
    ];
    assert_eq!(refused.fields(), fields);
}

mod re_read {
    use super::*;

    on_postgres! { what_cannot_be_read_again_keeps_no_other_change_from_its_watchers }

    async fn what_cannot_be_read_again_keeps_no_other_change_from_its_watchers(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let there = Watcher::synced(&server, watch_of(vec![location("attic")])).await;
        let mut by_name = Watcher::synced(&server, watch_of(vec![level_of("a")])).await;
        // Past the server, so that nothing but the re-read can tell of it.
        let sql = |sql: &str| server.home.sql(sql);
        sql("INSERT INTO stock_level VALUES ('no SKU', 'attic', 0, 0, 1, 0, 0)");
        sql("UPDATE stock_level SET version = 2 WHERE sku = 'a'");
        by_name.until("a", 2).await;
        assert_eq!(there.versions(), [], "it cannot be read");
        // The books are checked.
        sql("DELETE FROM stock_level WHERE sku = 'no SKU'");
        sql("UPDATE stock_level SET version = 1 WHERE sku = 'a'");
    }
}

mod two_instances {
    use super::*;

    on_postgres! { each_selector_learns_what_another_instance_changed }

    async fn each_selector_learns_what_another_instance_changed(store: StoreKind) {
        let here = Stockroom::start(store).await;
        put(&here.client, "a1", 10).await;
        count(&here, "a1", 50).await;
        let there = Stockroom::on(here.home.clone(), |_| {}).await;
        let mut watchers = Vec::new();
        for selector in [prefix("a"), location("main"), low_ones()] {
            watchers.push(Watcher::synced(&here, watch_of(vec![selector])).await);
        }
        let resumed = WatchStockRequest {
            seen: vec![SeenLevel {
                location: "main".to_owned(),
                ..seen("a1", 1)
            }],
            ..WatchStockRequest::default()
        };
        watchers.push(Watcher::synced(&here, resumed).await);
        count(&there, "a1", 5).await;
        for watcher in &mut watchers {
            assert!(watcher.until("a1", 2).await.low_stock);
        }
        count(&there, "a1", 50).await;
        for watcher in &mut watchers {
            assert!(!watcher.until("a1", 3).await.low_stock);
        }
    }
}
