//! What others do to the database costs no more than it must.

use futures_util::future::join_all;
use tonic::Code;

use crate::api::{confirm, level, order, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holds::{hold, is_over};

on_postgres! {
    what_the_database_has_as_defaults_weakens_no_commit,
    an_order_whose_row_is_gone_costs_its_call_and_nothing_else,
    an_order_whose_row_makes_no_sense_costs_its_calls_and_nobody_elses,
    a_hold_that_is_over_whose_row_makes_no_sense_keeps_no_other_from_ending,
}

async fn what_the_database_has_as_defaults_weakens_no_commit(store: StoreKind) {
    let home = Home::new(store);
    home.sql(
        "DO $$ BEGIN \
         EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); \
         EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); \
         END $$",
    );
    assert_eq!(home.sql("SHOW synchronous_commit"), "off");
    let server = Stockroom::on(home.clone(), |_| {}).await;
    home.sql(
        "CREATE TABLE seen (settings text); \
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO seen VALUES (current_setting('synchronous_commit') || ', ' || \
         current_setting('transaction_isolation')); RETURN NEW; END $$; \
         CREATE TRIGGER see BEFORE INSERT ON movement FOR EACH ROW EXECUTE FUNCTION see(); \
         CREATE TRIGGER see BEFORE INSERT ON product FOR EACH ROW EXECUTE FUNCTION see()",
    );
    // A product is put on one pool, and orders are made on the other.
    stock(&server.client, "a", 10).await;
    let made = server.client.create_order(order("o", &[("a", 1)]));
    made.await.unwrap();
    let seen = home.sql("SELECT settings, count(*) FROM seen GROUP BY settings");
    assert_eq!(seen, "on, read committed|3");
}

async fn an_order_whose_row_is_gone_costs_its_call_and_nothing_else(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b"] {
        stock(&server.client, sku, 10).await;
    }
    // The engine remembers it from now on.
    let held = hold(&server.client, "held", &[("a", 1)], 3_600).await;
    let home = &server.home;
    home.sql("CREATE TABLE kept AS TABLE orders; DELETE FROM orders");
    let confirmation = confirm("confirmation", &held.order_id);
    let refused = refusal(server.orders().confirm_order(confirmation).await);
    refused.is(Code::NotFound, "ORDER_NOT_FOUND");
    let made = server.client.create_order(order("o", &[("b", 1)]));
    made.await.unwrap();
    home.sql("INSERT INTO orders TABLE kept; DROP TABLE kept");
}

async fn an_order_whose_row_makes_no_sense_costs_its_calls_and_nobody_elses(store: StoreKind) {
    const HOLDS: usize = 40;
    const DAMAGED: usize = 17;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |_| {}).await;
    stock(&server.client, "a", HOLDS as i64).await;
    let mut held = Vec::new();
    for i in 0..HOLDS {
        held.push(hold(&server.client, &format!("held-{i}"), &[("a", 1)], 3_600).await);
    }
    home.sql(&format!(
        "CREATE TABLE kept AS SELECT order_id, lines FROM orders WHERE request_id = 'held-{DAMAGED}';
         UPDATE orders SET lines = '{{}}' WHERE request_id = 'held-{DAMAGED}'"
    ));
    // One that remembers none of them, and reads them together.
    let other = Stockroom::on(home.clone(), |_| {}).await;
    let confirmed = held.iter().enumerate().map(|(i, held)| {
        let mut orders = other.orders();
        let request = confirm(&format!("confirm-{i}"), &held.order_id);
        async move { orders.confirm_order(request).await }
    });
    for (i, answer) in join_all(confirmed).await.into_iter().enumerate() {
        let code = answer.err().map(|status| status.code());
        assert_eq!(code, (i == DAMAGED).then_some(Code::Internal), "order {i}");
    }
    home.sql("UPDATE orders AS o SET lines = k.lines FROM kept AS k WHERE o.order_id = k.order_id; DROP TABLE kept");
    let again = confirm("again", &held[DAMAGED].order_id);
    other.client.confirm_order(again).await.unwrap();
}

async fn a_hold_that_is_over_whose_row_makes_no_sense_keeps_no_other_from_ending(store: StoreKind) {
    let home = Home::new(store);
    let lazy = |c: &mut stockroom::config::Config| c.holds.sweep_interval_ms = 3_600_000;
    let mut server = Stockroom::on(home.clone(), lazy).await;
    let client = &server.client;
    stock(client, "a", 3).await;
    for id in ["damaged", "taken-back", "swept"] {
        is_over(&home, &hold(client, id, &[("a", 1)], 1).await).await;
    }
    home.sql(
        "CREATE TABLE kept AS SELECT order_id, lines FROM orders WHERE request_id = 'damaged';
         UPDATE orders SET lines = jsonb_set(lines::jsonb, '{0,quantity}', '0')::json WHERE request_id = 'damaged'",
    );
    // Both are over: an order that lacks one unit ends what it finds.
    client.create_order(order("o", &[("a", 1)])).await.unwrap();
    let sweeper = Stockroom::on(home.clone(), |c| c.holds.sweep_interval_ms = 10).await;
    server.end().unwrap();
    eventually("the other has ended", async || {
        let now = level(&sweeper.client, "a").await;
        (now.on_hand, now.reserved) == (2, 1)
    })
    .await;
    home.sql("UPDATE orders AS o SET lines = k.lines FROM kept AS k WHERE o.order_id = k.order_id; DROP TABLE kept");
}
