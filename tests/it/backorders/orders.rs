//! What orders, adjustments and counts do to a level with a limit.

use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{
    CountStockRequest, CreateOrderRequest, GetOrderRequest, ListOrdersRequest, Order, OrderState,
    PutProductsRequest,
};
use tonic::Code;

use super::{limited, put_limited, stock_limited, units};
use crate::api::{
    Refusal, batch_of, cancel, confirm, counted, hold_of, level, order, received, refusal, transfer,
};
use crate::fixture::{Stockroom, StoreKind, eventually};
use crate::holds::{hold, read};

on_each_store! {
    orders_take_to_the_limit_exactly_and_not_one_unit_more,
    lines_tell_what_of_them_is_on_backorder_wherever_the_order_is_read,
    an_order_may_be_the_first_movement_of_its_level,
    a_hold_on_backorder_is_confirmed_cancelled_or_expires,
    receipts_heal_a_backorder_and_nothing_but_orders_makes_one,
    a_count_says_what_is_there_less_what_is_owed,
    a_refusal_of_many_lines_fits_into_the_headers_that_clients_take,
}

/// The units of each line that are on backorder.
fn backordered(order: &Order) -> Vec<i64> {
    order.lines.iter().map(|line| line.backordered).collect()
}

async fn orders_take_to_the_limit_exactly_and_not_one_unit_more(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 2, 5).await;
    let one = |id: &str, units| server.client.create_order(order(id, &[("a", units)]));
    let refused = refusal(server.orders().create_order(order("8", &[("a", 8)])).await);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let said = "requested 8, available 2, backorder_limit 5";
    assert_eq!(refused.unmet(), [("a@main", said)]);
    one("all", 7).await.unwrap();
    assert_eq!(units(&server.client, "a").await, (-5, 0, -5));
    let refused = refusal(server.orders().create_order(order("1", &[("a", 1)])).await);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let said = "requested 1, available -5, backorder_limit 5";
    assert_eq!(refused.unmet(), [("a@main", said)]);
    let message = "a@main has -5 available, 1 requested, backorder_limit 5";
    assert!(refused.message.contains(message), "{}", refused.message);
    // What comes in can be ordered beyond 0 again.
    let more = received("more", "a", 1);
    server.client.adjust_stock(more).await.unwrap();
    one("again", 1).await.unwrap();
    assert_eq!(units(&server.client, "a").await, (-5, 0, -5));
}

async fn lines_tell_what_of_them_is_on_backorder_wherever_the_order_is_read(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 4, 10).await;
    stock_limited(&server.client, "b", 9, 10).await;
    let wide = order("wide", &[("a", 3), ("b", 2), ("a", 3), ("a", 1)]);
    let told = CreateOrderRequest {
        validate_only: true,
        ..wide.clone()
    };
    let told = server.client.create_order(told).await.unwrap();
    // What there was went to the first of the lines.
    assert_eq!(backordered(&told.order.unwrap()), [0, 0, 2, 1]);
    let made = server.client.create_order(wide.clone()).await.unwrap();
    let made = made.order.unwrap();
    assert_eq!(backordered(&made), [0, 0, 2, 1]);
    // All of a level that is below 0 already.
    let next = server.client.create_order(order("next", &[("a", 2)])).await;
    assert_eq!(backordered(&next.unwrap().order.unwrap()), [2]);
    // It is a fact of that moment, whatever comes in.
    let goods = received("goods", "a", 100);
    server.client.adjust_stock(goods).await.unwrap();
    let again = server.client.create_order(wide).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order.as_ref(), Some(&made));
    let get = GetOrderRequest {
        key: Some(Key::OrderId(made.order_id.clone())),
        ..GetOrderRequest::default()
    };
    let got = server.client.get_order(get).await.unwrap();
    assert_eq!(got.order.as_ref(), Some(&made));
    let listed = server.client.list_orders(ListOrdersRequest::default());
    assert_eq!(listed.await.unwrap().orders[1], made);
}

async fn an_order_may_be_the_first_movement_of_its_level(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put_limited(&server.client, "a", 3).await;
    put_limited(&server.client, "b", 3).await;
    let made = server.client.create_order(order("first", &[("a", 2)]));
    let made = made.await.unwrap().order.unwrap();
    assert_eq!(backordered(&made), [2]);
    let first = level(&server.client, "a").await;
    assert_eq!((first.version, first.on_hand), (1, -2));
    assert_eq!(first.backorder_limit, 3);
    let held = hold(&server.client, "held", &[("b", 3)], 600).await;
    assert_eq!(backordered(&held), [3]);
    assert_eq!(units(&server.client, "b").await, (0, 3, -3));
    let more = server.client.create_order(order("more", &[("b", 1)])).await;
    assert_eq!(more.unwrap_err().reason, "INSUFFICIENT_STOCK");
}

async fn a_hold_on_backorder_is_confirmed_cancelled_or_expires(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 1, 6).await;
    let taken = hold(&server.client, "taken", &[("a", 3)], 600).await;
    let dropped = hold(&server.client, "dropped", &[("a", 2)], 600).await;
    let brief = hold(&server.client, "brief", &[("a", 2)], 1).await;
    assert_eq!(backordered(&taken), [2]);
    assert_eq!(backordered(&brief), [2]);
    assert_eq!(units(&server.client, "a").await.0, 1);
    let confirmed = confirm("confirm", &taken.order_id);
    let confirmed = server.client.confirm_order(confirmed).await.unwrap();
    let confirmed = confirmed.order.unwrap();
    assert_eq!(
        (confirmed.state(), backordered(&confirmed)),
        (OrderState::Confirmed, vec![2])
    );
    let cancelled = cancel("cancel", &dropped.order_id);
    let cancelled = server.client.cancel_order(cancelled).await.unwrap();
    assert_eq!(backordered(&cancelled.order.unwrap()), [2]);
    eventually("the hold has expired", async || {
        let order = read(&server.client, &brief.order_id).await.order.unwrap();
        assert_eq!(backordered(&order), [2]);
        order.state() == OrderState::Expired
    })
    .await;
    assert_eq!(units(&server.client, "a").await, (-2, 0, -2));
    // Cancelled after all, its units are there again.
    let back = cancel("back", &taken.order_id);
    server.client.cancel_order(back).await.unwrap();
    assert_eq!(units(&server.client, "a").await, (1, 0, 1));
    // An expired hold makes no order fail, as far as the limit reaches.
    let brief = CreateOrderRequest {
        hold: Some(hold_of(1)),
        ..order("brief-again", &[("a", 7)])
    };
    let brief = server.client.create_order(brief).await.unwrap();
    crate::holds::is_over(&server.home, &brief.order.unwrap()).await;
    let all = server.client.create_order(order("all", &[("a", 7)])).await;
    assert_eq!(backordered(&all.unwrap().order.unwrap()), [6]);
}

async fn receipts_heal_a_backorder_and_nothing_but_orders_makes_one(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 2, 50).await;
    let mut inventory = server.inventory();
    let short = |refused: Refusal, said: &str| {
        refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(refused.unmet(), [("a@main", said)]);
    };
    let lost = inventory.adjust_stock(received("lost", "a", -3)).await;
    short(refusal(lost), "requested 3, available 2");
    let moved = transfer("moved", "main", "york", &[("a", 3)]);
    let moved = inventory.transfer_stock(moved).await;
    short(refusal(moved), "requested 3, available 2");
    server
        .client
        .create_order(order("owed", &[("a", 10)]))
        .await
        .unwrap();
    let lost = inventory.adjust_stock(received("lost", "a", -1)).await;
    short(refusal(lost), "requested 1, available -8");
    // Each by itself, in their order: what heals comes too late for what is short before it.
    let mixed = [received("", "a", -1), received("", "a", 100)];
    let mixed = inventory.batch_adjust_stock(batch_of("mixed", mixed)).await;
    short(refusal(mixed), "requested 1, available -8");
    // A part is taken as well.
    let some = received("some", "a", 3);
    let healed = server.client.adjust_stock(some).await.unwrap();
    assert_eq!(healed.level.unwrap().available, -5);
    let rest = [received("", "a", 10), received("", "a", -5)];
    let rest = server
        .client
        .batch_adjust_stock(batch_of("rest", rest))
        .await;
    assert_eq!(rest.unwrap().levels[0].available, 0);
    // A transfer heals where it arrives.
    let mut york = received("york", "a", 5);
    york.location = "york".to_owned();
    server.client.adjust_stock(york).await.unwrap();
    server
        .client
        .create_order(order("owed-again", &[("a", 7)]))
        .await
        .unwrap();
    let back = transfer("back", "york", "main", &[("a", 5)]);
    server.client.transfer_stock(back).await.unwrap();
    assert_eq!(units(&server.client, "a").await, (-2, 0, -2));
}

async fn a_count_says_what_is_there_less_what_is_owed(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock_limited(&server.client, "a", 2, 50).await;
    server
        .client
        .create_order(order("owed", &[("a", 5)]))
        .await
        .unwrap();
    // The shelf is empty, as it should be.
    let empty = server.client.adjust_stock(counted("empty", "a", -3)).await;
    let empty = empty.unwrap();
    assert_eq!(empty.movement.unwrap().on_hand_delta, 0);
    let refused = refusal(
        server
            .inventory()
            .adjust_stock(counted("gone", "a", -4))
            .await,
    );
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let found = CountStockRequest {
        request_id: "found".to_owned(),
        sku: "a".to_owned(),
        on_hand: -1,
        expected_version: Some(3),
        ..CountStockRequest::default()
    };
    let found = server.client.count_stock(found).await.unwrap();
    assert_eq!(found.level.unwrap().available, -1);
}

async fn a_refusal_of_many_lines_fits_into_the_headers_that_clients_take(store: StoreKind) {
    /// grpc-java's default, each header counted as RFC 9113, 6.5.2, has it.
    const HEADERS_BYTES_MAX: usize = 8_192;
    let server = Stockroom::start(store).await;
    let skus: Vec<String> = (0..200).map(|i| format!("sku-{i:04}")).collect();
    let products = PutProductsRequest {
        products: skus.iter().map(|sku| limited(sku, 20_000)).collect(),
        ..PutProductsRequest::default()
    };
    server.client.put_products(products).await.unwrap();
    let opening = batch_of(
        "opening",
        skus.iter().map(|sku| received("", sku, 1_000_000)),
    );
    server.client.batch_adjust_stock(opening).await.unwrap();
    let lines = skus.iter().flat_map(|sku| [(sku.as_str(), 1_000_000); 2]);
    let wide = order("wide", &lines.collect::<Vec<_>>());
    let refused = server.orders().create_order(wide).await.unwrap_err();
    let mut headers = http::HeaderMap::new();
    refused.add_header(&mut headers).unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.len()));
    // What is no part of a status.
    let others = [(":status", 3), ("content-type", "application/grpc".len())];
    let bytes: usize = headers
        .chain(others)
        .map(|(name, value)| name.len() + value + 32)
        .sum();
    assert!(bytes <= HEADERS_BYTES_MAX, "{bytes}");
    let refused = Refusal::of(&refused);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(refused.metadata("total"), "200");
    assert!(refused.unmet().len() > 40, "{}", refused.unmet().len());
}
