//! What others do to the database costs no more than it must.

use tonic::Code;

use crate::api::{confirm, order, refusal, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::holds::hold;

on_postgres! {
    what_the_database_has_as_defaults_weakens_no_commit,
    an_order_whose_row_is_gone_costs_its_call_and_nothing_else,
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
