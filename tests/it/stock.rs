//! Products and adjustments.

use stockroom::client::proto::adjust_stock_request::Change;
use stockroom::client::proto::{
    AdjustStockRequest, GetStockRequest, MovementKind, PutProductsRequest,
};
use tonic::Code;

use crate::api::{counted, level, order, product, put, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    products_are_created_updated_and_left_alone,
    a_changed_threshold_is_a_movement_on_each_level,
    an_adjustment_of_nothing_is_invalid_but_a_count_of_the_same_is_a_movement,
    stock_cannot_fall_below_zero,
    stock_cannot_rise_beyond_its_bound,
    an_adjustment_can_expect_a_version,
    every_adjustment_kind_is_written_to_the_ledger,
}

async fn products_are_created_updated_and_left_alone(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let put = async |products| {
        let request = PutProductsRequest {
            products,
            ..Default::default()
        };
        let answer = server.client.put_products(request).await.unwrap();
        (answer.created, answer.updated)
    };
    assert_eq!(put(vec![product("a", 0), product("b", 5)]).await, (2, 0));
    assert_eq!(
        put(vec![product("a", 0), product("b", 6), product("c", 0)]).await,
        (1, 1)
    );
    assert_eq!(put(vec![product("a", 0), product("b", 6)]).await, (0, 0));
    let mut named = product("a", 0);
    named.display_name = "WHITE HANGING HEART T-LIGHT HOLDER".to_owned();
    assert_eq!(put(vec![named]).await, (0, 1));
    assert_eq!(server.home.books().movements, 0);
}

async fn a_changed_threshold_is_a_movement_on_each_level(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut elsewhere = received("york", "a", 3);
    elsewhere.location = "york".to_owned();
    server.client.adjust_stock(elsewhere).await.unwrap();
    put(&server.client, "a", 5).await;
    let main = level(&server.client, "a").await;
    assert_eq!((main.version, main.on_hand, main.low_stock), (2, 10, false));
    let york = GetStockRequest {
        sku: "a".to_owned(),
        location: "york".to_owned(),
        ..GetStockRequest::default()
    };
    let york = server.client.get_stock(york).await.unwrap().level.unwrap();
    assert_eq!((york.version, york.on_hand, york.low_stock), (2, 3, true));
    // The threshold goes with the level from then on, and a new level gets it too.
    server
        .client
        .create_order(order("sells", &[("a", 5)]))
        .await
        .unwrap();
    assert!(level(&server.client, "a").await.low_stock);
    put(&server.client, "a", 5).await;
    assert_eq!(
        level(&server.client, "a").await.version,
        3,
        "the same threshold is no change"
    );
    put(&server.client, "a", 0).await;
    assert!(!level(&server.client, "a").await.low_stock);
    assert_eq!(server.home.books().movements, 7);
}

async fn an_adjustment_of_nothing_is_invalid_but_a_count_of_the_same_is_a_movement(
    store: StoreKind,
) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let refused = refusal(
        server
            .inventory()
            .adjust_stock(received("zero", "a", 0))
            .await,
    );
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["delta"]);
    let same = server
        .client
        .adjust_stock(counted("same", "a", 10))
        .await
        .unwrap();
    let movement = same.movement.unwrap();
    assert_eq!(
        (movement.version, movement.on_hand_delta, movement.on_hand),
        (2, 0, 10)
    );
    assert_eq!(movement.kind(), MovementKind::Count);
}

async fn stock_cannot_fall_below_zero(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let mut damaged = received("broken", "a", -11);
    damaged.kind = MovementKind::Damaged.into();
    let refused = refusal(server.inventory().adjust_stock(damaged.clone()).await);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let failure = refused.details.precondition_failure().unwrap();
    assert_eq!(failure.violations[0].subject, "a@main");
    assert_eq!(
        failure.violations[0].description,
        "requested 11, available 10"
    );
    damaged.change = Some(Change::Delta(-10));
    let answer = server.client.adjust_stock(damaged).await.unwrap();
    assert_eq!(answer.level.unwrap().on_hand, 0);
}

async fn stock_cannot_rise_beyond_its_bound(store: StoreKind) {
    const UNITS_MAX: i64 = 1_000_000_000_000;
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    server
        .client
        .adjust_stock(counted("full", "a", UNITS_MAX))
        .await
        .unwrap();
    let refused = refusal(
        server
            .inventory()
            .adjust_stock(received("more", "a", 1))
            .await,
    );
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["delta"]);
    assert_eq!(level(&server.client, "a").await.on_hand, UNITS_MAX);
}

async fn an_adjustment_can_expect_a_version(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    let expecting = |id: &str, version| AdjustStockRequest {
        expected_version: Some(version),
        ..received(id, "a", 5)
    };
    server
        .client
        .adjust_stock(expecting("first", 0))
        .await
        .unwrap();
    let refused = refusal(server.inventory().adjust_stock(expecting("stale", 0)).await);
    refused.is(Code::Aborted, "VERSION_MISMATCH");
    assert_eq!(
        (
            refused.metadata("expected_version"),
            refused.metadata("version")
        ),
        ("0", "1")
    );
    server
        .client
        .adjust_stock(expecting("second", 1))
        .await
        .unwrap();
    // A repeat is the first answer, not a mismatch.
    assert!(
        server
            .client
            .adjust_stock(expecting("second", 1))
            .await
            .unwrap()
            .replayed
    );
    assert_eq!(level(&server.client, "a").await.version, 2);
}

async fn every_adjustment_kind_is_written_to_the_ledger(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    let kinds = [
        MovementKind::Received,
        MovementKind::Returned,
        MovementKind::Damaged,
        MovementKind::Count,
        MovementKind::Correction,
    ];
    for (i, kind) in kinds.into_iter().enumerate() {
        let mut request = received(&format!("k-{i}"), "a", 3);
        request.kind = kind.into();
        request.note = format!("note \"{i}\" ü");
        let movement = server
            .client
            .adjust_stock(request.clone())
            .await
            .unwrap()
            .movement
            .unwrap();
        assert_eq!((movement.kind(), &movement.note), (kind, &request.note));
        assert_eq!(
            (movement.version, movement.on_hand),
            (i as i64 + 1, 3 * (i as i64 + 1))
        );
        assert_eq!(
            (&*movement.request_id, &*movement.order_id),
            (&*request.request_id, "")
        );
        // As it is read back.
        let again = server
            .client
            .adjust_stock(request)
            .await
            .unwrap()
            .movement
            .unwrap();
        assert_eq!(again, movement);
    }
}
