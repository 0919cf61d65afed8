//! Orders as their callers see them. (`guards` has what happens at once.)

use stockroom::client::proto::{GetOrderRequest, OrderState, get_order_request::Key};
use tonic::Code;

use crate::api::{level, order, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    lines_of_one_level_that_fit_only_apart_are_refused,
    an_order_reads_the_same_by_either_key,
    an_order_of_a_thousand_lines_is_taken,
    a_label_is_named_by_what_its_key_begins_with,
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
            .get_order(GetOrderRequest {
                key: Some(key),
                ..GetOrderRequest::default()
            })
            .await
            .unwrap();
        assert_eq!(read.order.as_ref(), Some(&made));
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

async fn a_label_is_named_by_what_its_key_begins_with(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let mut bad = order("long", &[("a", 1)]);
    bad.labels.insert("ü".repeat(10_000), "v".to_owned());
    let refused = refusal(server.orders().create_order(bad).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    // The bound of 63 bytes lies within a character of two.
    let named = format!("labels[\"{}\"] key", "ü".repeat(31));
    assert_eq!(refused.fields(), [named.as_str()]);
    let bad_request = refused.details.bad_request().unwrap();
    let said = &bad_request.field_violations[0].description;
    assert!(said.ends_with("has 20000"), "{said}");
}
