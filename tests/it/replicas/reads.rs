//! What replicas answer, and what they must not.

use futures_util::future::join_all;
use stockroom::client::proto::{
    BatchGetStockKey, BatchGetStockRequest, BatchGetStockResponse, ServedFrom,
};
use tonic::Code;

use super::fleet::{Fleet, get, list_stale, read, sell};
use crate::api::{order, put, refusal, stock};
use crate::fixture::StoreKind;

on_postgres! {
    what_is_asked_for_with_a_version_is_read_from_a_replica_and_the_rest_from_the_primary,
    while_replay_is_paused_no_read_goes_below_its_min_version,
    a_sku_that_was_just_put_is_found_although_no_replica_has_heard_of_it,
    a_batch_comes_from_one_source,
    a_read_after_a_write_with_its_min_version_never_sees_less_under_load,
    a_list_may_be_stale_where_that_is_allowed_and_shows_each_level_once,
}

async fn what_is_asked_for_with_a_version_is_read_from_a_replica_and_the_rest_from_the_primary(
    _: StoreKind,
) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(|_| {}).await;
    stock(&server.client, "a", 10).await;
    fleet.catch_up();
    for wanted in [0, 1] {
        let answer = get(&server.client, "a", Some(wanted)).await;
        assert_eq!(read(&answer), (1, ServedFrom::Replica));
        assert_eq!(answer.level.unwrap().on_hand, 10);
    }
    let answer = get(&server.client, "a", None).await;
    assert_eq!(read(&answer), (1, ServedFrom::Primary));
    // What nobody has is asked of the primary, which has the last word.
    let beyond = stockroom::client::proto::GetStockRequest {
        sku: "a".to_owned(),
        min_version: Some(2),
        ..Default::default()
    };
    let refused = refusal(server.inventory().get_stock(beyond).await);
    refused.is(Code::FailedPrecondition, "VERSION_NOT_REACHED");
    assert_eq!(refused.metadata("version"), "1");
}

async fn while_replay_is_paused_no_read_goes_below_its_min_version(_: StoreKind) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(|_| {}).await;
    let client = &server.client;
    stock(client, "a", 100).await;
    fleet.catch_up();
    fleet.replicas[0].pause_replay();
    sell(&server, "a", 5).await;
    for (wanted, found) in [
        (Some(0), (1, ServedFrom::Replica)),
        (Some(1), (1, ServedFrom::Replica)),
        (Some(2), (6, ServedFrom::Primary)),
        (Some(6), (6, ServedFrom::Primary)),
        (None, (6, ServedFrom::Primary)),
    ] {
        let answer = get(client, "a", wanted).await;
        assert_eq!(read(&answer), found, "{wanted:?}");
    }
    fleet.replicas[0].resume_replay();
    fleet.catch_up();
    let answer = get(client, "a", Some(6)).await;
    assert_eq!(read(&answer), (6, ServedFrom::Replica));
}

async fn a_sku_that_was_just_put_is_found_although_no_replica_has_heard_of_it(_: StoreKind) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(|_| {}).await;
    fleet.catch_up();
    fleet.replicas[0].pause_replay();
    put(&server.client, "new", 0).await;
    let answer = get(&server.client, "new", Some(0)).await;
    assert_eq!(read(&answer), (0, ServedFrom::Primary));
    let unknown = stockroom::client::proto::GetStockRequest {
        sku: "unknown".to_owned(),
        min_version: Some(0),
        ..Default::default()
    };
    let refused = refusal(server.inventory().get_stock(unknown).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    fleet.replicas[0].resume_replay();
}

async fn a_batch_comes_from_one_source(_: StoreKind) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(|_| {}).await;
    for sku in ["a", "b"] {
        stock(&server.client, sku, 100).await;
    }
    fleet.catch_up();
    fleet.replicas[0].pause_replay();
    // One order takes both, so no moment has them at different versions.
    for i in 0..3 {
        let both = order(&format!("both-{i}"), &[("a", 1), ("b", 1)]);
        server.client.create_order(both).await.unwrap();
    }
    let batch = async |wanted: [Option<i64>; 2]| {
        let keys = ["a", "b"].into_iter().zip(wanted);
        let keys = keys.map(|(sku, min_version)| BatchGetStockKey {
            sku: sku.to_owned(),
            min_version,
            ..BatchGetStockKey::default()
        });
        let keys = keys.collect();
        let answer = server.client.batch_get_stock(BatchGetStockRequest { keys });
        let answer: BatchGetStockResponse = answer.await.unwrap();
        let versions: Vec<i64> = answer.levels.iter().map(|level| level.version).collect();
        (versions, answer.served_from())
    };
    let (replica, primary) = (ServedFrom::Replica, ServedFrom::Primary);
    assert_eq!(batch([Some(0), Some(1)]).await, (vec![1, 1], replica));
    assert_eq!(batch([Some(0), Some(4)]).await, (vec![4, 4], primary));
    assert_eq!(batch([Some(0), None]).await, (vec![4, 4], primary));
    fleet.replicas[0].resume_replay();
}

async fn a_read_after_a_write_with_its_min_version_never_sees_less_under_load(_: StoreKind) {
    const CLIENTS: usize = 16;
    const WRITES: usize = 40;
    let fleet = Fleet::of(2);
    let server = fleet.stockroom(|_| {}).await;
    let skus = ["a", "b", "c"];
    for sku in skus {
        stock(&server.client, sku, 100_000).await;
    }
    let wavering = async {
        // One of them is late now and then, by as long as it takes.
        loop {
            let replica = std::sync::Arc::clone(&fleet.replicas[0]);
            let paused = tokio::task::spawn_blocking(move || {
                replica.pause_replay();
                std::thread::sleep(std::time::Duration::from_millis(30));
                replica.resume_replay();
            });
            paused.await.unwrap();
        }
    };
    let working = join_all((0..CLIENTS).map(|client| {
        let server = &server;
        async move {
            let mut sources = [0, 0];
            for i in 0..WRITES {
                let sku = skus[(client + i) % skus.len()];
                let request = order(&format!("{client}-{i}"), &[(sku, 1)]);
                let made = server.client.create_order(request).await.unwrap();
                let version = made.order.unwrap().lines[0].version;
                let answer = get(&server.client, sku, Some(version)).await;
                let (read, source) = read(&answer);
                assert!(read >= version, "{read} is below {version}");
                sources[usize::from(source == ServedFrom::Replica)] += 1;
            }
            sources
        }
    }));
    let sources = tokio::select! {
        sources = working => sources,
        never = wavering => never,
    };
    let replicas: usize = sources.iter().map(|[_, replica]| replica).sum();
    assert!(replicas > 0, "no read was served by a replica");
    fleet.replicas[0].resume_replay();
}

async fn a_list_may_be_stale_where_that_is_allowed_and_shows_each_level_once(_: StoreKind) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(|_| {}).await;
    for sku in ["a", "b", "c", "d", "e"] {
        stock(&server.client, sku, 10).await;
    }
    fleet.catch_up();
    fleet.replicas[0].pause_replay();
    stock(&server.client, "aa", 10).await;
    stock(&server.client, "dd", 10).await;
    sell(&server, "a", 2).await;
    let first = list_stale(&server.client, "").await;
    assert_eq!(first.served_from(), ServedFrom::Replica);
    let shown = |page: &stockroom::client::proto::ListStockResponse| -> Vec<(String, i64)> {
        let levels = page.levels.iter();
        levels.map(|it| (it.sku.clone(), it.version)).collect()
    };
    let listed = |levels: &[(&str, i64)]| -> Vec<(String, i64)> {
        let levels = levels.iter();
        levels
            .map(|(sku, version)| ((*sku).to_owned(), *version))
            .collect()
    };
    assert_eq!(shown(&first), listed(&[("a", 1), ("b", 1), ("c", 1)]));
    // The next page comes from another source: the token is a place among the names.
    let strict = stockroom::client::proto::ListStockRequest {
        page_size: 3,
        page_token: first.next_page_token.clone(),
        ..Default::default()
    };
    let second = server.client.list_stock(strict).await.unwrap();
    assert_eq!(second.served_from(), ServedFrom::Primary);
    assert_eq!(shown(&second), listed(&[("d", 1), ("dd", 1), ("e", 1)]));
    let stale = list_stale(&server.client, &first.next_page_token).await;
    assert_eq!(shown(&stale), listed(&[("d", 1), ("e", 1)]));
    assert!(stale.next_page_token.is_empty());
    fleet.replicas[0].resume_replay();
    fleet.catch_up();
    let caught_up = list_stale(&server.client, "").await;
    assert_eq!(caught_up.served_from(), ServedFrom::Replica);
    assert_eq!(shown(&caught_up), listed(&[("a", 3), ("aa", 1), ("b", 1)]));
}
