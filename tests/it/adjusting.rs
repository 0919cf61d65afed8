//! Changes of stock that are made together: BatchAdjustStock, CountStock, TransferStock.

use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{
    CountStockRequest, GetStockRequest, ListMovementsRequest, Movement, MovementKind, StockKey,
};
use tonic::Code;

use crate::api::{batch_of, counted, level, put, received, refusal, stock, transfer};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    a_batch_makes_a_movement_for_each_adjustment_in_their_order,
    a_batch_that_does_not_fit_changes_nothing_and_lists_all_that_is_wrong,
    five_hundred_adjustments_are_one_batch_and_one_more_is_refused,
    a_count_needs_the_version_that_was_read,
    the_halves_of_a_transfer_name_each_other,
    a_transfer_takes_what_is_available_or_nothing,
    bad_transfers_and_counts_name_every_field,
}

async fn history(server: &Stockroom, sku: &str, location: &str) -> Vec<Movement> {
    let request = ListMovementsRequest {
        scope: Some(Scope::Level(StockKey {
            sku: sku.to_owned(),
            location: location.to_owned(),
        })),
        ..ListMovementsRequest::default()
    };
    server
        .client
        .list_movements(request)
        .await
        .unwrap()
        .movements
}

async fn a_batch_makes_a_movement_for_each_adjustment_in_their_order(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    put(&server.client, "b", 0).await;
    let mut broken = received("", "a", -12);
    broken.kind = MovementKind::Damaged.into();
    broken.note = "all of it".to_owned();
    // Each finds what those before it have left; the first alone would not do.
    let request = batch_of(
        "monday",
        [
            received("", "b", 7),
            received("", "a", 2),
            broken,
            counted("", "b", 5),
        ],
    );
    let made = server
        .client
        .batch_adjust_stock(request.clone())
        .await
        .unwrap();
    let movements = made.movements.iter();
    let movements: Vec<_> = movements
        .map(|m| (&*m.sku, m.version, m.on_hand_delta, m.on_hand))
        .collect();
    let expected = [
        ("b", 1, 7, 7),
        ("a", 2, 2, 12),
        ("a", 3, -12, 0),
        ("b", 2, -2, 5),
    ];
    assert_eq!(movements, expected);
    assert_eq!(made.movements[2].note, "all of it");
    assert!(made.movements.iter().all(|m| m.request_id == "monday"));
    let levels = made.levels.iter();
    let levels: Vec<_> = levels.map(|l| (&*l.sku, l.version, l.on_hand)).collect();
    assert_eq!(levels, [("a", 3, 0), ("b", 2, 5)]);
    assert_eq!(
        history(&server, "a", "main").await[1..],
        made.movements[1..3]
    );

    server
        .client
        .adjust_stock(received("later", "a", 1))
        .await
        .unwrap();
    let again = server.client.batch_adjust_stock(request).await.unwrap();
    assert_eq!((again.replayed, &again.movements), (true, &made.movements));
    assert_eq!((again.levels[0].version, again.levels[0].on_hand), (4, 1));
    let other = batch_of("monday", [received("", "b", 7)]);
    let refused = refusal(server.inventory().batch_adjust_stock(other).await);
    refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    // One by itself is another request too.
    let single = received("monday", "b", 7);
    let refused = refusal(server.inventory().adjust_stock(single).await);
    refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
}

async fn a_batch_that_does_not_fit_changes_nothing_and_lists_all_that_is_wrong(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "b", "c"] {
        stock(&server.client, sku, 10).await;
    }
    let send = async |requests: Vec<_>| {
        let request = batch_of("all", requests);
        refusal(server.inventory().batch_adjust_stock(request).await)
    };
    let short = vec![
        received("", "a", 1),
        received("", "b", -11),
        received("", "b", -1),
        received("", "c", -5),
        received("", "c", -6),
    ];
    let refused = send(short).await;
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let said = refused.unmet();
    let each = [
        ("b@main", "requested 11, available 10"),
        ("c@main", "requested 6, available 5"),
    ];
    assert_eq!(said, each);

    let unknown = [("x", 1), ("a", 1), ("y", 1)].map(|(sku, units)| received("", sku, units));
    let refused = send(unknown.to_vec()).await;
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    assert_eq!(refused.metadata("skus"), "x,y");

    let mut stale = [("a", 1), ("b", 9), ("c", 8)].map(|(sku, seen)| {
        let mut request = received("", sku, 1);
        request.expected_version = Some(seen);
        request
    });
    let refused = send(stale.to_vec()).await;
    refused.is(Code::Aborted, "VERSION_MISMATCH");
    let said = refused.unmet();
    let each = [
        ("b@main", "expected 9, is 1"),
        ("c@main", "expected 8, is 1"),
    ];
    assert_eq!(said, each);

    let full = [counted("", "a", 1_000_000_000_000), received("", "a", 3)];
    let refused = send(full.to_vec()).await;
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["adjustments[1].delta"]);

    stale[1] = received("", "", 0);
    stale[2].kind = MovementKind::Ordered.into();
    stale[2].change = None;
    let refused = send(stale.to_vec()).await;
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    let fields = [
        "adjustments[1].sku",
        "adjustments[1].delta",
        "adjustments[2].kind",
        "adjustments[2].change",
    ];
    assert_eq!(refused.fields(), fields);
    assert_eq!(server.home.books().movements, 3);
}

async fn five_hundred_adjustments_are_one_batch_and_one_more_is_refused(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "a", 0).await;
    let adjustments = |n: usize| {
        (0..n).map(|i| {
            let mut request = received("", "a", 1);
            request.location = format!("shelf-{}", i % 400);
            request
        })
    };
    let refused = batch_of("more", adjustments(501));
    let refused = refusal(server.inventory().batch_adjust_stock(refused).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["adjustments"]);
    let none = refusal(
        server
            .inventory()
            .batch_adjust_stock(batch_of("none", []))
            .await,
    );
    assert_eq!(none.fields(), ["adjustments"]);
    let whole = batch_of("whole", adjustments(500));
    let made = server
        .client
        .batch_adjust_stock(whole.clone())
        .await
        .unwrap();
    assert_eq!((made.movements.len(), made.levels.len()), (500, 400));
    let again = server.client.batch_adjust_stock(whole).await.unwrap();
    assert_eq!((again.replayed, again.movements), (true, made.movements));
}

async fn a_count_needs_the_version_that_was_read(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    let count = |request_id: &str, on_hand, expected_version| CountStockRequest {
        request_id: request_id.to_owned(),
        sku: "a".to_owned(),
        on_hand,
        expected_version,
        ..CountStockRequest::default()
    };
    let blind = refusal(server.inventory().count_stock(count("c", 8, None)).await);
    blind.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(blind.fields(), ["expected_version"]);
    let counted = server
        .client
        .count_stock(count("c", 8, Some(1)))
        .await
        .unwrap();
    let movement = counted.movement.unwrap();
    assert_eq!(
        (movement.kind(), movement.on_hand_delta),
        (MovementKind::Count, -2)
    );
    assert_eq!(counted.level.unwrap().version, 2);
    let late = refusal(server.inventory().count_stock(count("d", 8, Some(1))).await);
    late.is(Code::Aborted, "VERSION_MISMATCH");
    let versions = (late.metadata("expected_version"), late.metadata("version"));
    assert_eq!(versions, ("1", "2"));
    let again = server
        .client
        .count_stock(count("c", 8, Some(1)))
        .await
        .unwrap();
    assert_eq!((again.replayed, again.movement), (true, Some(movement)));
    // A count of what it is is a movement, and says that somebody looked.
    server
        .client
        .count_stock(count("e", 8, Some(2)))
        .await
        .unwrap();
    assert_eq!(level(&server.client, "a").await.version, 3);
}

async fn the_halves_of_a_transfer_name_each_other(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    stock(&server.client, "b", 10).await;
    let mut request = transfer("van-1", "", "york", &[("b", 4), ("a", 10)]);
    request.note = "for the weekend".to_owned();
    let made = server.client.transfer_stock(request.clone()).await.unwrap();
    let halves = made.movements.iter().map(|m| {
        let other = m.counterpart.as_ref().unwrap();
        let there = format!("{}@{} {}", m.sku, m.location, m.version);
        (
            there,
            m.kind(),
            m.on_hand_delta,
            format!("{} {}", other.location, other.version),
        )
    });
    let (out, into) = (MovementKind::TransferredOut, MovementKind::TransferredIn);
    let expected = [
        ("b@main 2", out, -4, "york 1"),
        ("b@york 1", into, 4, "main 2"),
        ("a@main 2", out, -10, "york 1"),
        ("a@york 1", into, 10, "main 2"),
    ];
    let expected =
        expected.map(|(at, kind, units, other)| (at.to_owned(), kind, units, other.to_owned()));
    assert_eq!(halves.collect::<Vec<_>>(), expected);
    let levels = made.levels.iter();
    let levels: Vec<_> = levels.map(|l| (&*l.sku, &*l.location, l.on_hand)).collect();
    let each = [
        ("a", "main", 0),
        ("a", "york", 10),
        ("b", "main", 6),
        ("b", "york", 4),
    ];
    assert_eq!(levels, each);
    // As the ledger has them, and as a repeat reads them.
    assert_eq!(history(&server, "a", "york").await, made.movements[3..]);
    assert_eq!(
        history(&server, "a", "main").await[1..],
        made.movements[2..3]
    );
    let again = server.client.transfer_stock(request).await.unwrap();
    assert_eq!((again.replayed, &again.movements), (true, &made.movements));
    assert!(made.movements.iter().all(|m| m.note == "for the weekend"));
    assert!(history(&server, "a", "main").await[0].counterpart.is_none());
}

async fn a_transfer_takes_what_is_available_or_nothing(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    stock(&server.client, "b", 10).await;
    put(&server.client, "c", 0).await;
    let much = transfer("van-1", "main", "york", &[("a", 5), ("b", 11), ("c", 1)]);
    let refused = refusal(server.inventory().transfer_stock(much).await);
    refused.is(Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let said = refused.unmet();
    let each = [
        ("b@main", "requested 11, available 10"),
        ("c@main", "requested 1, available 0"),
    ];
    assert_eq!(said, each);
    assert_eq!(level(&server.client, "a").await.on_hand, 10);
    let york = GetStockRequest {
        sku: "a".to_owned(),
        location: "york".to_owned(),
        ..GetStockRequest::default()
    };
    let york = server.client.get_stock(york).await.unwrap().level.unwrap();
    assert_eq!((york.on_hand, york.version), (0, 0));
}

async fn bad_transfers_and_counts_name_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let mut bad = transfer("", "main", "", &[("a", 0), ("", 1), ("a", 1)]);
    bad.note = "x".repeat(513);
    let refused = refusal(server.inventory().transfer_stock(bad).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    let fields = [
        "request_id",
        "to_location",
        "note",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[2].sku",
    ];
    assert_eq!(refused.fields(), fields);
    let lines: Vec<(String, i64)> = (0..251).map(|i| (format!("s-{i}"), 1)).collect();
    let lines: Vec<_> = lines.iter().map(|(sku, units)| (&**sku, *units)).collect();
    let wide = transfer("wide", "main", "york", &lines);
    let refused = refusal(server.inventory().transfer_stock(wide).await);
    assert_eq!(refused.fields(), ["lines"]);
    let bad = CountStockRequest {
        on_hand: -1_000_000_001,
        expected_version: Some(-1),
        ..CountStockRequest::default()
    };
    let refused = refusal(server.inventory().count_stock(bad).await);
    let fields = ["request_id", "sku", "on_hand", "expected_version"];
    assert_eq!(refused.fields(), fields);
}
