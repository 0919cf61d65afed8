//! What one order breaks is no matter of its neighbours'.

use futures_util::future::join_all;
use tonic::Code;

use super::Guard;
use crate::api::{level, order, stock};
use crate::fixture::{Stockroom, StoreKind};

const ORDERS: usize = 40;
const POISONOUS: usize = 17;

pub(super) async fn an_order_that_breaks_its_statement_fails_alone(guard: Guard) {
    let server = Stockroom::with(StoreKind::Postgres, guard.configure).await;
    stock(&server.client, "a", 1_000).await;
    server.home.sql(&format!(
        "CREATE FUNCTION choke() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN RAISE EXCEPTION ''it chokes'' USING ERRCODE = ''P0001''; END';
         CREATE TRIGGER choke BEFORE INSERT ON orders FOR EACH ROW
         WHEN (new.request_id = 'o-{POISONOUS}') EXECUTE FUNCTION choke();"
    ));
    let requests: Vec<_> = (0..ORDERS)
        .map(|i| order(&format!("o-{i}"), &[("a", 1)]))
        .collect();
    let answers = join_all(requests.iter().map(|request| {
        let mut orders = server.orders();
        async move { orders.create_order(request.clone()).await }
    }))
    .await;
    for (i, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answer) => {
                let made = answer.into_inner();
                assert!(i != POISONOUS && !made.replayed, "order {i}: {made:?}");
            }
            Err(status) => {
                assert_eq!(
                    (i, status.code()),
                    (POISONOUS, Code::Internal),
                    "{status:?}"
                );
                assert!(!status.message().contains("chokes"), "internals leak");
            }
        }
    }
    assert_eq!(level(&server.client, "a").await.on_hand, 1_000 - 39);
    // It was the database's fault, and when that is mended nothing stands in the way.
    server.home.sql("DROP TRIGGER choke ON orders");
    let cured = server.client.create_order(requests[POISONOUS].clone());
    assert!(!cured.await.unwrap().replayed);
}
