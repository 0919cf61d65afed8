//! Orders: all of a unit's buyers but one are refused, whatever happens at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use stockroom::client::proto::{GetOrderRequest, OrderState, get_order_request::Key};

use crate::api::{level, order, put, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    sixty_four_clients_on_ten_units_sell_ten,
    lines_of_one_level_are_summed_and_make_one_movement,
    lines_of_one_level_that_fit_only_apart_are_refused,
    an_order_that_does_not_fit_harms_no_neighbour,
    an_order_is_all_or_nothing,
    an_order_reads_the_same_by_either_key,
    orders_of_the_same_levels_in_any_order_never_deadlock,
    an_order_of_a_thousand_lines_is_taken,
}

async fn sixty_four_clients_on_ten_units_sell_ten(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "last", 10).await;
    let buyers = (0..64).map(|i| {
        let server = &server;
        async move {
            let client = server.another_client().await;
            client
                .create_order(order(&format!("buyer-{i}"), &[("last", 1)]))
                .await
        }
    });
    let answers = join_all(buyers).await;
    let sold = answers.iter().filter(|answer| answer.is_ok()).count();
    let refusals: BTreeSet<&str> = answers
        .iter()
        .filter_map(|a| a.as_ref().err().map(|e| e.reason.as_str()))
        .collect();
    assert_eq!(sold, 10);
    assert_eq!(refusals, BTreeSet::from(["INSUFFICIENT_STOCK"]));
    let left = level(&server.client, "last").await;
    assert_eq!((left.on_hand, left.version), (0, 11));
}

async fn lines_of_one_level_are_summed_and_make_one_movement(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    stock(&server.client, "b", 10).await;
    let request = order("doubled", &[("a", 3), ("b", 1), ("a", 4)]);
    let made = server
        .client
        .create_order(request)
        .await
        .unwrap()
        .order
        .unwrap();
    let lines: Vec<_> = made
        .lines
        .iter()
        .map(|l| (l.sku.as_str(), l.quantity, l.version))
        .collect();
    assert_eq!(lines, [("a", 3, 2), ("b", 1, 2), ("a", 4, 2)]);
    let left = level(&server.client, "a").await;
    assert_eq!((left.on_hand, left.version), (3, 2));
}

async fn lines_of_one_level_that_fit_only_apart_are_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let answer = server
        .orders()
        .create_order(order("greedy", &[("a", 6), ("a", 6)]))
        .await;
    let refused = refusal(answer);
    let short = refused.details.precondition_failure().unwrap();
    let short: Vec<_> = short
        .violations
        .iter()
        .map(|v| v.description.as_str())
        .collect();
    assert_eq!(short, ["requested 12, available 10"]);
    assert_eq!(level(&server.client, "a").await.on_hand, 10);
}

async fn an_order_that_does_not_fit_harms_no_neighbour(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    // Sent at once, so that they share batches: every third asks for too much,
    // every third for what nobody knows.
    let answers = join_all((0..60).map(|i| {
        let request = match i % 3 {
            0 => order(&format!("fits-{i}"), &[("a", 1)]),
            1 => order(&format!("short-{i}"), &[("a", 1_000)]),
            _ => order(&format!("unknown-{i}"), &[("a", 1), ("nowhere", 1)]),
        };
        server.client.create_order(request)
    }))
    .await;
    for (i, answer) in answers.iter().enumerate() {
        let reason = answer.as_ref().err().map_or("", |e| &e.reason);
        assert_eq!(
            reason,
            ["", "INSUFFICIENT_STOCK", "SKU_NOT_FOUND"][i % 3],
            "order {i}"
        );
    }
    assert_eq!(level(&server.client, "a").await.on_hand, 80);
    let (commits, orders) = (
        server.counters.commits.get(),
        server.counters.orders_committed.get(),
    );
    assert_eq!(orders, 20);
    assert!(
        commits < orders,
        "{orders} orders took {commits} commits: none shared one"
    );
}

async fn an_order_is_all_or_nothing(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "plenty", 100).await;
    stock(&server.client, "scarce", 1).await;
    put(&server.client, "never", 0).await;
    let request = order("wide", &[("plenty", 1), ("scarce", 2), ("never", 5)]);
    let refused = refusal(server.orders().create_order(request).await);
    let short = refused.details.precondition_failure().unwrap();
    let short: Vec<_> = short
        .violations
        .iter()
        .map(|v| {
            (
                v.r#type.as_str(),
                v.subject.as_str(),
                v.description.as_str(),
            )
        })
        .collect();
    // Every level that is short, not just the first.
    let expected = [
        ("STOCK", "never@main", "requested 5, available 0"),
        ("STOCK", "scarce@main", "requested 2, available 1"),
    ];
    assert_eq!(short, expected);
    assert_eq!(level(&server.client, "plenty").await.on_hand, 100);
    assert_eq!(server.home.books().orders, 0);
}

async fn an_order_reads_the_same_by_either_key(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut request = order("with-everything", &[("a", 2)]);
    request.customer_ref = "Frau Müller \"17\"".to_owned();
    request.labels = [("channel", "web"), ("note", "a 'b' \\ \u{1F4E6}")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let made = server.client.create_order(request.clone()).await.unwrap();
    assert!(!made.replayed);
    let made = made.order.unwrap();
    assert_eq!(made.state(), OrderState::Confirmed);
    assert_eq!(made.request_id, "with-everything");
    assert_eq!(
        (&made.customer_ref, &made.labels),
        (&request.customer_ref, &request.labels)
    );
    assert_eq!((made.version, made.create_time), (1, made.update_time));
    assert!(made.create_time.is_some());
    assert_eq!(made.lines[0].location, "main");
    assert_eq!(
        made.order_id.as_bytes()[14],
        b'7',
        "{} is no UUIDv7",
        made.order_id
    );
    for key in [
        Key::OrderId(made.order_id.clone()),
        Key::RequestId(made.request_id.clone()),
    ] {
        let read = server
            .client
            .get_order(GetOrderRequest { key: Some(key) })
            .await
            .unwrap();
        assert_eq!(read.order.as_ref(), Some(&made));
    }
}

async fn orders_of_the_same_levels_in_any_order_never_deadlock(store: StoreKind) {
    let server = Stockroom::start(store).await;
    // Names that byte order and a dictionary put differently.
    let skus = ["85123A", "85123a", "B", "a", "Z-1", "z_1"];
    for sku in skus {
        stock(&server.client, sku, 1_000).await;
    }
    let answers = join_all((0..120_usize).map(|i| {
        let mut lines = skus.map(|sku| (sku, 1));
        lines.rotate_left(i % skus.len());
        if i % 2 == 0 {
            lines.reverse();
        }
        server.client.create_order(order(&format!("o-{i}"), &lines))
    }))
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for sku in skus {
        assert_eq!(level(&server.client, sku).await.on_hand, 880);
    }
}

async fn an_order_of_a_thousand_lines_is_taken(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000).await;
    stock(&server.client, "b", 1_000).await;
    let lines: Vec<_> = (0..1_000).map(|i| (["a", "b"][i % 2], 1)).collect();
    let made = server
        .client
        .create_order(order("widest", &lines))
        .await
        .unwrap();
    assert_eq!(made.order.unwrap().lines.len(), 1_000);
    assert_eq!(level(&server.client, "a").await.on_hand, 500);
}
