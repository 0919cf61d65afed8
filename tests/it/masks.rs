//! Field masks: an answer has what was asked for, and what nobody asked for is not read.

use prost_types::FieldMask;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{
    GetOrderRequest, ListMovementsRequest, ListOrdersRequest, Movement, Order, StockKey,
};
use tonic::Code;

use crate::api::{hold_of, order, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    an_order_has_the_fields_that_were_asked_for,
    a_movement_has_the_fields_that_were_asked_for,
    a_mask_may_change_from_page_to_page,
    a_page_of_large_orders_without_their_lines_does_not_end_early,
    what_is_wrong_with_a_mask_is_named,
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(|&path| path.to_owned());
    Some(FieldMask {
        paths: paths.collect(),
    })
}

fn made_by(request_id: &str, read_mask: Option<FieldMask>) -> GetOrderRequest {
    GetOrderRequest {
        key: Some(Key::RequestId(request_id.to_owned())),
        read_mask,
        ..GetOrderRequest::default()
    }
}

fn orders(page_size: i32, read_mask: Option<FieldMask>) -> ListOrdersRequest {
    ListOrdersRequest {
        page_size,
        read_mask,
        ..ListOrdersRequest::default()
    }
}

fn of_a(page_size: i32, read_mask: Option<FieldMask>) -> ListMovementsRequest {
    ListMovementsRequest {
        page_size,
        scope: Some(Scope::Level(StockKey {
            sku: "a".to_owned(),
            ..StockKey::default()
        })),
        read_mask,
        ..ListMovementsRequest::default()
    }
}

/// An order that has something in each of its fields but for the reason of its end.
async fn full_order(server: &Stockroom) -> Order {
    stock(&server.client, "a", 100).await;
    let mut request = order("full", &[("a", 2), ("a", 1)]);
    "c-42".clone_into(&mut request.customer_ref);
    request.labels = [("channel".to_owned(), "web".to_owned())].into();
    request.hold = Some(hold_of(600));
    let made = server.client.create_order(request).await.unwrap();
    made.order.unwrap()
}

async fn an_order_has_the_fields_that_were_asked_for(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let full = full_order(&server).await;
    let some = Order {
        order_id: full.order_id.clone(),
        state: full.state,
        expire_time: full.expire_time,
        ..Order::default()
    };
    let lines = Order {
        lines: full.lines.clone(),
        ..Order::default()
    };
    let caller = Order {
        labels: full.labels.clone(),
        customer_ref: full.customer_ref.clone(),
        ..Order::default()
    };
    let reason = Order::default();
    for (paths, expected) in [
        (None, &full),
        (mask(&[]), &full),
        (mask(&["*"]), &full),
        (mask(&["state", "*"]), &full),
        (mask(&["expire_time", "order_id", "state", "state"]), &some),
        (mask(&["lines"]), &lines),
        (mask(&["labels", "customer_ref"]), &caller),
        (mask(&["cancel_reason"]), &reason),
    ] {
        let got = server
            .client
            .get_order(made_by("full", paths.clone()))
            .await;
        assert_eq!(got.unwrap().order.as_ref(), Some(expected), "{paths:?}");
        let listed = server.client.list_orders(orders(0, paths.clone())).await;
        let listed = listed.unwrap().orders;
        assert_eq!(listed, std::slice::from_ref(expected), "{paths:?}");
    }
    // The lines name the movements, also where nobody asked for lines.
    let request = GetOrderRequest {
        with_movements: true,
        ..made_by("full", mask(&["order_id"]))
    };
    let got = server.client.get_order(request).await.unwrap();
    assert_eq!(got.order.unwrap().lines, []);
    let versions: Vec<_> = got.movements.iter().map(|it| it.version).collect();
    assert_eq!(versions, [2]);
}

async fn a_movement_has_the_fields_that_were_asked_for(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let full = full_order(&server).await;
    let of_order = |read_mask| ListMovementsRequest {
        scope: Some(Scope::OrderId(full.order_id.clone())),
        ..of_a(0, read_mask)
    };
    let by_time = |read_mask| ListMovementsRequest {
        scope: None,
        ..of_a(0, read_mask)
    };
    let scopes: [&dyn Fn(Option<FieldMask>) -> ListMovementsRequest; 3] =
        [&|read_mask| of_a(0, read_mask), &of_order, &by_time];
    for scope in scopes {
        let list = async |paths| {
            let page = server.client.list_movements(scope(paths)).await.unwrap();
            page.movements
        };
        let whole = list(None).await;
        assert!(!whole.is_empty());
        assert_eq!(list(mask(&["*"])).await, whole);
        let some = |it: &Movement| Movement {
            version: it.version,
            reserved: it.reserved,
            create_time: it.create_time,
            ..Movement::default()
        };
        let some: Vec<_> = whole.iter().map(some).collect();
        assert_eq!(
            list(mask(&["reserved", "version", "create_time"])).await,
            some
        );
    }
}

async fn a_mask_may_change_from_page_to_page(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    for i in 0..4 {
        let sale = order(&format!("o-{i}"), &[("a", 1)]);
        server.client.create_order(sale).await.unwrap();
    }
    let masks = [mask(&["request_id"]), None, mask(&["state"]), mask(&["*"])];
    let mut token = String::new();
    let mut ids = Vec::new();
    for paths in masks.clone() {
        let request = ListOrdersRequest {
            page_token: token,
            ..orders(1, paths)
        };
        let page = server.client.list_orders(request).await.unwrap();
        ids.extend(page.orders.into_iter().map(|it| it.request_id));
        token = page.next_page_token;
    }
    assert_eq!(
        (ids, token),
        (
            ["o-3", "o-2", "", "o-0"].map(str::to_owned).to_vec(),
            String::new()
        )
    );
    let mut versions = Vec::new();
    let mut token = String::new();
    for paths in [mask(&["version"]), mask(&["note"]), None] {
        let request = ListMovementsRequest {
            page_token: token,
            ..of_a(1, paths)
        };
        let page = server.client.list_movements(request).await.unwrap();
        versions.extend(page.movements.iter().map(|it| it.version));
        token = page.next_page_token;
    }
    assert_eq!(versions, [1, 0, 3]);
}

async fn a_page_of_large_orders_without_their_lines_does_not_end_early(store: StoreKind) {
    const ORDERS: usize = 40;
    let server = Stockroom::start(store).await;
    let sku = "x".repeat(64);
    stock(&server.client, &sku, 1_000_000).await;
    for i in 0..ORDERS {
        let large = order(&format!("large-{i}"), &vec![(&*sku, 1); 1_000]);
        server.client.create_order(large).await.unwrap();
    }
    let whole = server
        .client
        .list_orders(orders(1_000, None))
        .await
        .unwrap();
    assert!(whole.orders.len() < ORDERS && !whole.next_page_token.is_empty());
    let paths = mask(&["order_id", "state"]);
    let page = server
        .client
        .list_orders(orders(1_000, paths))
        .await
        .unwrap();
    assert_eq!(page.orders.len(), ORDERS);
    assert_eq!(page.next_page_token, "");
}

async fn what_is_wrong_with_a_mask_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    full_order(&server).await;
    let long = "ü".repeat(1_000);
    let bad = ["state", "lines.sku", "orderId", "", " *", &long];
    let of_order = server.orders().get_order(made_by("full", mask(&bad))).await;
    let of_orders = server.orders().list_orders(orders(0, mask(&bad))).await;
    let of_level = server.inventory().list_movements(of_a(0, mask(&bad))).await;
    for (refused, resource, expected) in [
        (refusal(of_order), "Order", 5),
        (refusal(of_orders), "Order", 5),
        (refusal(of_level), "Movement", 6),
    ] {
        refused.is(Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(refused.fields(), vec!["read_mask"; expected]);
        let violations = &refused.details.bad_request().unwrap().field_violations;
        for path in [
            "\"lines.sku\"",
            "\"orderId\"",
            "\"\"",
            "\" *\"",
            &format!("\"{}\"", "ü".repeat(32)),
        ] {
            let said = format!("must name whole fields of {resource}, or \"*\", has {path}");
            assert!(
                violations.iter().any(|it| it.description == said),
                "{violations:#?}"
            );
        }
    }
    // As many paths as there may be, and one more.
    let at_bound = server
        .client
        .get_order(made_by("full", mask(&["state"; 32])))
        .await;
    assert_eq!(at_bound.unwrap().order.unwrap().order_id, "");
    let beyond = refusal(
        server
            .orders()
            .get_order(made_by("full", mask(&["state"; 33])))
            .await,
    );
    assert_eq!(beyond.fields(), ["read_mask"]);
    let said = &beyond.details.bad_request().unwrap().field_violations[0].description;
    assert_eq!(said, "must have at most 32 paths, has 33");
    // Together with whatever else is wrong.
    let mut both = made_by("no good", mask(&["?"]));
    assert_eq!(
        refusal(server.orders().get_order(both.clone()).await).fields(),
        ["request_id", "read_mask"]
    );
    both.key = None;
    assert_eq!(
        refusal(server.orders().get_order(both).await).fields(),
        ["key", "read_mask"]
    );
}

/// Shown on orders and a ledger that cannot be read.
mod of_a_broken_store {
    use super::*;

    on_postgres! { what_nobody_asks_for_is_not_read }

    async fn what_nobody_asks_for_is_not_read(store: StoreKind) {
        let server = Stockroom::start(store).await;
        let full = full_order(&server).await;
        let home = &server.home;
        home.sql("CREATE TABLE lost AS SELECT order_id, lines, labels FROM orders");
        home.sql("CREATE TABLE lost_movement AS SELECT * FROM movement WHERE version = 2");
        home.sql("UPDATE orders SET lines = '7', labels = '7'");
        home.sql("DELETE FROM movement WHERE version = 2");
        let get = async |paths: &[&str], with_movements| {
            let request = GetOrderRequest {
                with_movements,
                ..made_by("full", mask(paths))
            };
            server.orders().get_order(request).await
        };
        let list = async |paths: &[&str]| server.orders().list_orders(orders(0, mask(paths))).await;
        let got = get(&["state"], false).await.unwrap().into_inner();
        assert_eq!(got.order.unwrap().state, full.state);
        let listed = list(&["state"]).await.unwrap().into_inner();
        assert_eq!(listed.orders[0].state, full.state);
        for paths in [&["lines"][..], &["labels"], &[]] {
            refusal(get(paths, false).await).is(Code::Internal, "INTERNAL");
            refusal(list(paths).await).is(Code::Internal, "INTERNAL");
        }
        home.sql("UPDATE orders SET lines = (SELECT lines FROM lost)");
        assert!(get(&["lines"], false).await.is_ok() && list(&["lines"]).await.is_ok());
        refusal(get(&["labels"], false).await).is(Code::Internal, "INTERNAL");
        refusal(get(&["state"], true).await).is(Code::Internal, "INTERNAL");
        home.sql("UPDATE orders SET labels = (SELECT labels FROM lost)");
        home.sql("INSERT INTO movement SELECT * FROM lost_movement");
        let got = get(&[], true).await.unwrap().into_inner();
        assert_eq!((got.order, got.movements.len()), (Some(full), 1));
    }
}
