//! The books themselves: what every test ends with does see what is wrong.

use stockroom::client::proto::CreateOrderRequest;

use crate::api::{hold_of, order, stock};
use crate::fixture::{Stockroom, StoreKind};

on_postgres! {
    tampering_with_any_table_breaks_the_books,
}

/// What is done behind the program's back, how it is undone, and a word of the
/// rule that must see it.
const TAMPERINGS: [(&str, &str, &str); 15] = [
    (
        "UPDATE stock_level SET on_hand = on_hand + 1",
        "UPDATE stock_level SET on_hand = on_hand - 1",
        "movements sum to levels",
    ),
    (
        "UPDATE stock_level SET version = version + 1",
        "UPDATE stock_level SET version = version - 1",
        "versions count movements",
    ),
    (
        "UPDATE stock_level SET reserved = reserved + 1",
        "UPDATE stock_level SET reserved = reserved - 1",
        "no unit is reserved without a hold",
    ),
    (
        "UPDATE hold_deadline SET last_us = last_us - 1, first_us = first_us - 1",
        "UPDATE hold_deadline SET last_us = last_us + 1, first_us = first_us + 1",
        "pending orders are found when their holds are over",
    ),
    (
        "UPDATE hold_deadline SET levels = '{b@main}'",
        "UPDATE hold_deadline SET levels = '{a@main}'",
        "by each of their levels",
    ),
    (
        "UPDATE hold_deadline SET order_ids = array_append(order_ids[2:], gen_random_uuid())",
        "UPDATE hold_deadline SET order_ids = (SELECT array_agg(order_id) FROM orders WHERE state = 2)",
        "no unit is reserved without a hold",
    ),
    (
        "UPDATE orders SET state = 4 WHERE state = 1",
        "UPDATE orders SET state = 1 WHERE state = 4",
        "what orders reserve and took",
    ),
    (
        "UPDATE movement SET on_hand = on_hand + 1 WHERE version = 1",
        "UPDATE movement SET on_hand = on_hand - 1 WHERE version = 1",
        "each movement follows",
    ),
    (
        "UPDATE orders SET lines = jsonb_set(lines::jsonb, '{0,quantity}', '2')::json",
        "UPDATE orders SET lines = jsonb_set(lines::jsonb, '{0,quantity}', '3')::json",
        "order lines sum to the movements",
    ),
    (
        "UPDATE orders SET moved = '[[2]]' WHERE request_id = 'hold'",
        "UPDATE orders SET moved = NULL WHERE request_id = 'hold'",
        "orders name the movements that they made",
    ),
    (
        "UPDATE request SET request_id = 'other' WHERE request_id = 'sale'",
        "UPDATE request SET request_id = 'sale' WHERE request_id = 'other'",
        "each order was made by one request",
    ),
    (
        "INSERT INTO order_label SELECT 'k', 'v', order_id FROM orders",
        "DELETE FROM order_label",
        "found by the labels",
    ),
    (
        "UPDATE stock_level SET backorder_limit = 1",
        "UPDATE stock_level SET backorder_limit = 0",
        "the backorder limit of its product",
    ),
    (
        "UPDATE orders SET lines = jsonb_set(lines::jsonb, '{0,backordered}', '2')::json",
        "UPDATE orders SET lines = jsonb_set(lines::jsonb, '{0,backordered}', '0')::json",
        "what orders have on backorder",
    ),
    (
        "UPDATE movement_time SET last_versions[1] = 3 WHERE version = 2",
        "UPDATE movement_time SET last_versions[1] = 2 WHERE version = 2",
        "found by their time",
    ),
];

async fn tampering_with_any_table_breaks_the_books(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    for (request_id, hold) in [("sale", None), ("hold", Some(hold_of(60)))] {
        let order = CreateOrderRequest {
            hold,
            ..order(request_id, &[("a", 3)])
        };
        server.client.create_order(order).await.unwrap();
    }
    for (tamper, undo, rule) in TAMPERINGS {
        server.home.sql(tamper);
        let books = server.home.books();
        let broken = books.rules.iter().filter(|rule| rule.broken_by > 0);
        let broken: Vec<_> = broken.map(|rule| rule.rule).collect();
        assert!(
            broken.iter().any(|name| name.contains(rule)),
            "{tamper}: {broken:?}"
        );
        assert!(!books.balanced());
        server.home.sql(undo);
    }
}
