//! The ledger by time: of all levels, and a range of one's.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use stockroom::client::proto::{ListMovementsRequest, Movement};
use tonic::Code;

use super::{list, of_level};
use crate::api::{order, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    movements_of_all_levels_are_listed_by_time_once_each_while_more_are_made,
    commits_of_one_movement_each_are_all_listed_by_time,
    a_level_shows_what_was_made_in_a_range_of_time,
    above_a_version_that_no_level_reaches_there_is_nothing,
}

/// What sorts movements in the list by time.
fn by_time(movement: &Movement) -> (i64, i32) {
    let time = movement.create_time.as_ref().unwrap();
    (time.seconds, time.nanos)
}

/// Every movement, each level's from its own history.
async fn histories(server: &Stockroom, skus: &[String]) -> Vec<Movement> {
    let mut all = Vec::new();
    for sku in skus {
        all.extend(list(server, of_level(sku, 1_000), async |_| {}).await);
    }
    all
}

fn names(movements: &[Movement]) -> BTreeSet<(&str, &str, i64)> {
    let movements = movements.iter();
    movements
        .map(|it| (it.sku.as_str(), it.location.as_str(), it.version))
        .collect()
}

async fn movements_of_all_levels_are_listed_by_time_once_each_while_more_are_made(
    store: StoreKind,
) {
    // A commit of more levels than a row of movement_time has, most of them twice or more.
    const LEVELS: usize = 600;
    let server = Stockroom::start(store).await;
    let skus: Vec<String> = (0..LEVELS).map(|i| format!("s{i:03}")).collect();
    // As many at a time as may wait.
    for skus in skus.chunks(32) {
        join_all(skus.iter().map(|sku| stock(&server.client, sku, 1_000))).await;
    }
    let lines: Vec<_> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
    let make = async |id: String, lines: &[(&str, i64)]| {
        let made = server.client.create_order(order(&id, lines)).await;
        made.unwrap();
    };
    make("wide".to_owned(), &lines).await;
    join_all((0..40).map(|i| make(format!("some-{i}"), &lines[i..i + 3]))).await;
    let there = histories(&server, &skus).await;
    for page_size in [7, 100, 1_000] {
        let everything = ListMovementsRequest {
            page_size,
            ..ListMovementsRequest::default()
        };
        let sell = async |listed: usize| {
            if listed.is_multiple_of(21) {
                make(format!("more-{page_size}-{listed}"), &lines[..2]).await;
            }
        };
        let listed = list(&server, everything, sell).await;
        assert!(listed.is_sorted_by_key(by_time));
        assert_eq!(names(&listed).len(), listed.len(), "none comes twice");
        assert!(names(&listed).is_superset(&names(&there)));
        assert!(listed.iter().all(|it| !it.sku.is_empty() && it.version > 0));
    }
    // From the time of the wide order to before the last one that was there.
    let all = histories(&server, &skus).await;
    let wide = all.iter().find(|it| it.sku == "s599" && it.version == 2);
    let (start, end) = (wide.unwrap(), there.iter().max_by_key(|it| by_time(it)));
    let end = end.unwrap();
    let between = ListMovementsRequest {
        page_size: 50,
        start_time: start.create_time,
        end_time: end.create_time,
        ..ListMovementsRequest::default()
    };
    let listed = list(&server, between, async |_| {}).await;
    let expected: Vec<_> = all
        .iter()
        .filter(|it| by_time(it) >= by_time(start) && by_time(it) < by_time(end))
        .cloned()
        .collect();
    assert!(expected.len() >= LEVELS, "{}", expected.len());
    assert_eq!(names(&listed), names(&expected));
    assert_eq!(listed.len(), expected.len());
}

async fn commits_of_one_movement_each_are_all_listed_by_time(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    for i in 0..12 {
        let sale = order(&format!("o-{i}"), &[("a", 1)]);
        server.client.create_order(sale).await.unwrap();
    }
    for page_size in 1..6 {
        let everything = ListMovementsRequest {
            page_size,
            ..ListMovementsRequest::default()
        };
        let listed = list(&server, everything, async |_| {}).await;
        let versions: Vec<i64> = listed.iter().map(|it| it.version).collect();
        assert_eq!(versions, (1..=13).collect::<Vec<_>>(), "{page_size} a page");
    }
}

async fn a_level_shows_what_was_made_in_a_range_of_time(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b"] {
        stock(&server.client, sku, 1_000).await;
    }
    for i in 0..30 {
        let lines: &[_] = if i % 3 == 0 { &[("b", 1)] } else { &[("a", 1)] };
        let sale = order(&format!("o-{i}"), lines);
        server.client.create_order(sale).await.unwrap();
    }
    let all = list(&server, of_level("a", 1_000), async |_| {}).await;
    let time = |at: usize| all[at].create_time;
    for (start_time, end_time, expected) in [
        (time(5), None, &all[5..]),
        (None, time(5), &all[..5]),
        (time(4), time(17), &all[4..17]),
        (time(19), time(20), &all[19..20]),
    ] {
        let request = ListMovementsRequest {
            start_time,
            end_time,
            ..of_level("a", 4)
        };
        let listed = list(&server, request.clone(), async |_| {}).await;
        assert_eq!(listed, expected);
        let later = ListMovementsRequest {
            after_version: 6,
            ..request
        };
        let listed = list(&server, later, async |_| {}).await;
        let expected = expected.iter().filter(|it| it.version > 6);
        assert_eq!(listed, expected.cloned().collect::<Vec<_>>());
    }
    let long_ago = ListMovementsRequest {
        end_time: Some(prost_types::Timestamp::default()),
        ..of_level("a", 10)
    };
    assert_eq!(list(&server, long_ago.clone(), async |_| {}).await, []);
    let unknown = ListMovementsRequest {
        scope: of_level("z", 10).scope,
        ..long_ago
    };
    let refused = refusal(server.inventory().list_movements(unknown).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
}

async fn above_a_version_that_no_level_reaches_there_is_nothing(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    // From either, the versions that a statement looks at would go beyond the largest number.
    for after_version in [i64::MAX - 10_000, i64::MAX] {
        let request = ListMovementsRequest {
            after_version,
            start_time: Some(prost_types::Timestamp::default()),
            ..of_level("a", 10)
        };
        let page = server.client.list_movements(request).await.unwrap();
        assert_eq!(page.movements, []);
        assert_eq!(page.next_page_token, "");
    }
}
