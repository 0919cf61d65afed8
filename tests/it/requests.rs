//! request_id: a write happens once, however often and whatever way it is sent.

use std::time::Instant;

use futures_util::future::join_all;
use stockroom::client::proto::GetOrderRequest;
use stockroom::client::proto::get_order_request::Key;
use tonic::{Code, Request};

use crate::api::{counted, level, order, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};
use crate::watching::{everything, watch_of};

on_each_store! {
    another_payload_under_the_same_id_is_refused,
    orders_and_adjustments_share_one_namespace,
    a_repeated_adjustment_tells_the_first_movement_and_the_level_of_now,
    a_refusal_is_not_remembered,
    callers_that_hang_up_leave_whole_orders_or_none,
    callers_that_hang_up_without_batching_leave_whole_orders_or_none,
    repeats_of_answered_requests_are_no_contention,
    a_compressed_request_is_unimplemented_and_changes_nothing,
}

async fn another_payload_under_the_same_id_is_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    stock(&server.client, "b", 100).await;
    let request = order("taken", &[("a", 1), ("b", 2)]);
    server.client.create_order(request.clone()).await.unwrap();
    let mut others = vec![
        order("taken", &[("a", 2), ("b", 2)]),
        order("taken", &[("a", 1)]),
        order("taken", &[("b", 2), ("a", 1)]),
    ];
    others.extend([request.clone(), request.clone(), request.clone()]);
    others[3].customer_ref = "somebody".to_owned();
    others[4]
        .labels
        .insert("key".to_owned(), "value".to_owned());
    others[5].lines[0].location = "york".to_owned();
    for other in others {
        let refused = refusal(server.orders().create_order(other.clone()).await);
        refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
        assert_eq!(refused.fields(), ["request_id"], "{other:?}");
        assert_eq!(refused.metadata("request_id"), "taken");
    }
    // `main` by its name is the same request as `main` by default.
    let mut spelt_out = request;
    spelt_out.lines[0].location = "main".to_owned();
    assert!(
        server
            .client
            .create_order(spelt_out)
            .await
            .unwrap()
            .replayed
    );
    assert_eq!(level(&server.client, "a").await.on_hand, 99);
}

async fn orders_and_adjustments_share_one_namespace(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    server
        .client
        .create_order(order("shared", &[("a", 1)]))
        .await
        .unwrap();
    let adjusted = server
        .inventory()
        .adjust_stock(received("shared", "a", 1))
        .await;
    refusal(adjusted).is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    let ordered = server
        .orders()
        .create_order(order("opening-a", &[("a", 1)]))
        .await;
    refusal(ordered).is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    // An adjustment's id names no order.
    let key = Some(Key::RequestId("opening-a".to_owned()));
    let read = server
        .orders()
        .get_order(GetOrderRequest {
            key,
            ..GetOrderRequest::default()
        })
        .await;
    refusal(read).is(Code::NotFound, "ORDER_NOT_FOUND");
    assert_eq!(level(&server.client, "a").await.on_hand, 99);
}

async fn a_repeated_adjustment_tells_the_first_movement_and_the_level_of_now(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    let request = counted("count-1", "a", 90);
    let first = server.client.adjust_stock(request.clone()).await.unwrap();
    server
        .client
        .create_order(order("between", &[("a", 5)]))
        .await
        .unwrap();
    let again = server.client.adjust_stock(request).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(again.movement, first.movement);
    let (then, now) = (first.level.unwrap(), again.level.unwrap());
    assert_eq!((then.on_hand, then.version), (90, 2));
    assert_eq!((now.on_hand, now.version), (85, 3));
}

async fn a_refusal_is_not_remembered(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    let request = order("patient", &[("a", 5)]);
    let refused = server
        .client
        .create_order(request.clone())
        .await
        .unwrap_err();
    assert_eq!(refused.reason, "INSUFFICIENT_STOCK");
    server
        .client
        .adjust_stock(received("more", "a", 10))
        .await
        .unwrap();
    let made = server.client.create_order(request).await.unwrap();
    assert!(!made.replayed);
}

mod in_flight {
    use super::*;
    use crate::holding::Hold;

    on_postgres! {
        a_repeat_of_an_order_in_flight_joins_it_and_another_payload_is_refused,
    }

    async fn a_repeat_of_an_order_in_flight_joins_it_and_another_payload_is_refused(
        store: StoreKind,
    ) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 100).await;
        let send = |request| {
            let client = server.client.clone();
            tokio::spawn(async move { client.create_order(request).await })
        };
        let hold = Hold::on(&server.home).await;
        let request = order("slow", &[("a", 1)]);
        let first = send(request.clone());
        hold.has_waiter().await;
        let repeats = [0; 3].map(|_| send(request.clone()));
        let other = send(order("slow", &[("a", 2)]));
        let neighbour = send(order("neighbour", &[("a", 1)]));
        // On the same connection, so the server has them all when it answers this.
        level(&server.client, "a").await;
        drop(hold);
        let first = first.await.unwrap().unwrap();
        assert!(!first.replayed);
        for repeat in repeats {
            let repeat = repeat.await.unwrap().unwrap();
            assert_eq!((repeat.replayed, &repeat.order), (true, &first.order));
        }
        let refused = other.await.unwrap().unwrap_err();
        assert_eq!(refused.reason, "REQUEST_ID_REUSED");
        assert!(!neighbour.await.unwrap().unwrap().replayed);
        assert_eq!(level(&server.client, "a").await.on_hand, 98);
    }
}

async fn callers_that_hang_up_leave_whole_orders_or_none(store: StoreKind) {
    hang_up(Stockroom::start(store).await).await;
}

async fn callers_that_hang_up_without_batching_leave_whole_orders_or_none(store: StoreKind) {
    hang_up(Stockroom::with(store, |config| config.engine.batch_orders_max = 1).await).await;
}

/// Sends orders, drops each call after another fraction of twice the time that one
/// takes, and then asks for all of them again. The fixture looks for
/// connections that were left inside a transaction.
async fn hang_up(server: Stockroom) {
    const CALLERS: usize = 200;
    stock(&server.client, "a", 10_000).await;
    stock(&server.client, "b", 10_000).await;
    let requests: Vec<_> = (0..CALLERS)
        .map(|i| order(&format!("gone-{i}"), &[("a", 1), ("b", 2)]))
        .collect();
    let began = Instant::now();
    let one = order("one", &[("a", 1), ("b", 2)]);
    server.client.create_order(one).await.unwrap();
    let taken = began.elapsed();
    for (round, callers) in requests.chunks(20).enumerate() {
        join_all(callers.iter().enumerate().map(|(i, request)| {
            let patience = 2 * taken * (round * 20 + i) as u32 / CALLERS as u32;
            tokio::time::timeout(patience, server.client.create_order(request.clone()))
        }))
        .await;
    }
    server.home.check_books();
    // Without batching so many orders of one level meet in earnest.
    let again = server.client.retrying();
    let answers = join_all(requests.iter().map(|request| again.create_order(request))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let replayed = answers
        .iter()
        .flatten()
        .filter(|answer| answer.replayed)
        .count();
    // How many were too late to stop is the machine's affair.
    assert!(replayed > 0, "nothing had been committed");
    assert_eq!(
        level(&server.client, "b").await.on_hand,
        10_000 - 2 * (CALLERS + 1) as i64
    );
    assert_eq!(server.home.books().orders, (CALLERS + 1) as i64);
}

async fn repeats_of_answered_requests_are_no_contention(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    for replayed in [false, true] {
        for i in 0..10 {
            let request = order(&format!("o-{i}"), &[("a", 1)]);
            let made = server.client.create_order(request).await.unwrap();
            assert_eq!(made.replayed, replayed);
        }
    }
    assert_eq!(server.counters.locks.escalations.get(), 0);
}

/// A call that says so: what follows its headers is not read.
fn compressed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let encoding = "gzip".parse().unwrap();
    request.metadata_mut().insert("grpc-encoding", encoding);
    request
}

async fn a_compressed_request_is_unimplemented_and_changes_nothing(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    let sent = order("small", &[("a", 1)]);
    let made = server.orders().create_order(compressed(sent.clone())).await;
    assert_eq!(made.unwrap_err().code(), Code::Unimplemented);
    let all = compressed(watch_of(vec![everything()]));
    let watched = server.inventory().watch_stock(all).await;
    assert_eq!(watched.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(level(&server.client, "a").await.version, 1);
    assert!(!server.client.create_order(sent).await.unwrap().replayed);
}
