//! Servers of the version before limits, on a schema that has them.

use super::put_limited;
use crate::fixture::{Stockroom, StoreKind};
use crate::servers::postgres::psql;

on_postgres! {
    servers_of_the_version_before_go_on_while_this_one_is_rolled_out,
}

/// They call functions of the name without the parameter for limits.
async fn servers_of_the_version_before_go_on_while_this_one_is_rolled_out(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put_limited(&server.client, "a", 0).await;
    put_limited(&server.client, "limited", 5).await;
    let call = |function: &str, sku: &str, request_id: &str, more: &str| {
        format!(
            "SELECT {function}(7, ARRAY['{request_id}'], ARRAY['\\x000102030405060708090a0b0c0d0e0f'::bytea], NULL, \
             ARRAY['{sku}'], ARRAY['{request_id}'], ARRAY[1], NULL, NULL, NULL, NULL, NULL, NULL, \
             ARRAY['{sku}'], ARRAY['{request_id}'], ARRAY[1], ARRAY[1::smallint], ARRAY[5], ARRAY[0], ARRAY[5], ARRAY[0], \
             NULL, ARRAY['{request_id}'], NULL, \
             ARRAY['{sku}'], ARRAY['{request_id}'], ARRAY[5], ARRAY[0], ARRAY[1], ARRAY[0], \
             NULL, NULL, NULL, NULL, NULL, NULL, NULL{more})"
        )
    };
    let with_events = ", '\\x01'";
    let with_orders = [", NULL"; 19].concat();
    server.home.sql(&call("commit_batch", "a", "plain", ""));
    server
        .home
        .sql(&call("commit_batch", "a", "events", with_events));
    server.home.sql("DELETE FROM outbox");
    server
        .home
        .sql(&call("commit_orders", "a", "orders", &with_orders));
    assert_eq!(server.home.sql("SELECT count(*) FROM stock_level"), "3");
    // They know no limit, so they make no level of a product that has one.
    let sql = call("commit_batch", "limited", "limited", "");
    let refused = psql(&server.home.url(), &sql);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("not at the expected version"), "{said}");
}
