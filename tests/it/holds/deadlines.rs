//! The rows by which holds are found when they are over.

use std::sync::Arc;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use stockroom::client::proto::{ExtendHoldRequest, OrderState};

use super::{hold, is_over, read};
use crate::api::{cancel, confirm, hold_of, level, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};

on_each_store! {
    a_deadline_goes_when_it_has_passed_and_nothing_of_it_is_left,
}

mod in_rows {
    use super::*;

    on_postgres! { holds_of_a_commit_share_a_deadline }

    async fn holds_of_a_commit_share_a_deadline(store: StoreKind) {
        const HOLDS: usize = 500;
        let server = Stockroom::start(store).await;
        let (client, home) = (&server.client, &server.home);
        stock(client, "a", HOLDS as i64).await;
        let names = (0..HOLDS).map(|i| format!("hold-{i}"));
        join_all(names.map(|name| async move { hold(client, &name, &[("a", 1)], 600).await }))
            .await;
        // A commit whose orders came more than a second apart would have several.
        let deadlines = count(home, "hold_deadline").await;
        assert!(deadlines < HOLDS as i64 / 2, "{deadlines} deadlines");
    }
}

async fn count(home: &Arc<Home>, of: &str) -> i64 {
    let database = Database::connect(home.url()).await.unwrap();
    let sql = format!("SELECT count(*) FROM {of}");
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let row = database.query_one_raw(statement).await.unwrap().unwrap();
    database.close().await.unwrap();
    row.try_get_by_index(0).unwrap()
}

async fn a_deadline_goes_when_it_has_passed_and_nothing_of_it_is_left(store: StoreKind) {
    // Nothing ends before all of them have become what they shall be.
    let home = Home::new(store);
    let mut server = Stockroom::on(home.clone(), |c| c.holds.sweep_interval_ms = 3_600_000).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let (mut ids, mut last) = (Vec::new(), None);
    for name in ["confirmed", "cancelled", "extended", "left"] {
        let order = hold(client, name, &[("a", 1)], 1).await;
        ids.push(order.order_id.clone());
        last = Some(order);
    }
    client
        .confirm_order(confirm("confirm", &ids[0]))
        .await
        .unwrap();
    client
        .cancel_order(cancel("cancel", &ids[1]))
        .await
        .unwrap();
    let longer = ExtendHoldRequest {
        request_id: "extend".to_owned(),
        order_id: ids[2].clone(),
        hold: Some(hold_of(600)),
        ..ExtendHoldRequest::default()
    };
    client.extend_hold(longer).await.unwrap();
    is_over(&home, &last.unwrap()).await;
    server.end().unwrap();
    let server = Stockroom::on(home.clone(), |c| c.holds.sweep_interval_ms = 10).await;
    let client = &server.client;
    eventually("one deadline is left", async || {
        count(&home, "hold_deadline").await == 1
    })
    .await;
    let mut states = Vec::new();
    for id in &ids {
        states.push(read(client, id).await.order.unwrap().state());
    }
    use OrderState::{Cancelled, Confirmed, Expired, Pending};
    assert_eq!(states, [Confirmed, Cancelled, Pending, Expired]);
    let now = level(client, "a").await;
    assert_eq!((now.on_hand, now.reserved), (9, 1));
}
