//! The error catalogue: what a caller did wrong, with its details. The rows
//! about a server that cannot are in `pressure` and `outage`.

use stockroom::client::proto::adjust_stock_request::Change;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::stock_selector::Selector;
use stockroom::client::proto::{
    AdjustStockRequest, BatchGetStockKey, BatchGetStockRequest, CreateOrderRequest,
    GetOrderRequest, GetStockRequest, ListStockRequest, MovementKind, OrderLineRequest,
    PutProductsRequest, SeenLevel, StockKey, StockSelector, WatchStockRequest,
};
use tonic::Code;

use crate::api::{order, product, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    an_invalid_order_names_every_field,
    the_bounds_of_an_order_are_inclusive,
    an_invalid_adjustment_names_every_field,
    invalid_products_name_every_field,
    invalid_reads_name_every_field,
    an_invalid_watch_names_every_field,
    violations_beyond_what_trailers_carry_are_counted,
    unknown_skus_and_orders_are_named,
}

fn line(sku: &str, location: &str, quantity: i64) -> OrderLineRequest {
    OrderLineRequest {
        sku: sku.to_owned(),
        location: location.to_owned(),
        quantity,
    }
}

/// Fails unless the refusal names exactly these fields.
#[track_caller]
fn names<T: std::fmt::Debug>(answer: Result<T, tonic::Status>, fields: &[&str]) {
    let refused = refusal(answer);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.fields(), fields, "{refused:#?}");
    assert_eq!(refused.metadata("total"), fields.len().to_string());
    assert!(refused.details.retry_info().is_none(), "no retry mends it");
    assert_eq!(refused.pushback_ms, None);
    let bad_request = refused.details.bad_request().unwrap();
    assert!(
        bad_request
            .field_violations
            .iter()
            .all(|v| !v.description.is_empty())
    );
}

async fn an_invalid_order_names_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let bad = CreateOrderRequest {
        request_id: "two words".to_owned(),
        lines: vec![
            line("fine", "", 1),
            line("", "", 1),
            line("a/b", "nowhere else", 0),
            line("fine", "", 1_000_001),
            line(&"x".repeat(65), "", -1),
        ],
        customer_ref: "c".repeat(129),
        labels: [
            ("k".to_owned(), "v".repeat(256)),
            (String::new(), "v".to_owned()),
        ]
        .into(),
        hold: Some(prost_types::Duration {
            seconds: 0,
            nanos: 999_999_999,
        }),
        ..Default::default()
    };
    names(
        server.orders().create_order(bad).await,
        &[
            "request_id",
            "lines[1].sku",
            "lines[2].sku",
            "lines[2].location",
            "lines[2].quantity",
            "lines[3].quantity",
            "lines[4].sku",
            "lines[4].quantity",
            "customer_ref",
            "labels[\"\"]",
            "labels[\"k\"]",
            "hold",
        ],
    );
    names(
        server
            .orders()
            .create_order(CreateOrderRequest::default())
            .await,
        &["request_id", "lines"],
    );
    let wide = order("wide", &vec![("a", 1); 1_001]);
    names(server.orders().create_order(wide).await, &["lines"]);
    let mut zero = order("zero", &[("a", 1)]);
    zero.customer_ref = "nul\0".to_owned();
    names(server.orders().create_order(zero).await, &["customer_ref"]);
}

async fn the_bounds_of_an_order_are_inclusive(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let sku = "x".repeat(64);
    stock(&server.client, &sku, 1_000_000).await;
    let mut largest = order(&"r".repeat(128), &[(&sku, 1_000_000)]);
    largest.customer_ref = "ü".repeat(64);
    for i in 0..16 {
        largest.labels.insert(format!("{i:063}"), "v".repeat(255));
    }
    let made = server
        .client
        .create_order(largest.clone())
        .await
        .unwrap()
        .order
        .unwrap();
    assert_eq!(
        (&made.customer_ref, &made.labels),
        (&largest.customer_ref, &largest.labels)
    );
    largest.labels.insert("one more".to_owned(), String::new());
    names(server.orders().create_order(largest).await, &["labels"]);
}

async fn an_invalid_adjustment_names_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let bad = AdjustStockRequest {
        request_id: String::new(),
        sku: "!".to_owned(),
        location: "?".to_owned(),
        change: None,
        kind: MovementKind::Ordered.into(),
        note: "n".repeat(513),
        expected_version: Some(-1),
        ..Default::default()
    };
    let fields = [
        "request_id",
        "sku",
        "location",
        "kind",
        "change",
        "note",
        "expected_version",
    ];
    names(server.inventory().adjust_stock(bad).await, &fields);
    let adjust = async |change, kind: i32| {
        let request = AdjustStockRequest {
            request_id: "r".to_owned(),
            sku: "a".to_owned(),
            change: Some(change),
            kind,
            ..AdjustStockRequest::default()
        };
        server.inventory().adjust_stock(request).await
    };
    let count = MovementKind::Count as i32;
    names(
        adjust(Change::Delta(1_000_000_001), count).await,
        &["delta"],
    );
    names(adjust(Change::Delta(i64::MIN), count).await, &["delta"]);
    for units in [-1_000_000_001, i64::MIN, i64::MAX] {
        names(
            adjust(Change::SetOnHand(units), count).await,
            &["set_on_hand"],
        );
    }
    for kind in [0, MovementKind::Threshold as i32, 99, -1] {
        names(adjust(Change::Delta(1), kind).await, &["kind"]);
    }
}

async fn invalid_products_name_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let put = async |products| {
        server
            .inventory()
            .put_products(PutProductsRequest {
                products,
                ..Default::default()
            })
            .await
    };
    names(put(vec![]).await, &["products"]);
    names(
        put((0..1_001).map(|i| product(&format!("p{i}"), 0)).collect()).await,
        &["products"],
    );
    let mut long = product("long", 1_000_000_001);
    long.display_name = "n".repeat(256);
    long.backorder_limit = 1_000_000_001;
    let mut owing = product("owing", 0);
    owing.backorder_limit = -1;
    names(
        put(vec![
            product("a", 0),
            product("", -1),
            product("a", 0),
            long,
            owing,
        ])
        .await,
        &[
            "products[1].sku",
            "products[1].low_stock_threshold",
            "products[2].sku",
            "products[3].display_name",
            "products[3].low_stock_threshold",
            "products[3].backorder_limit",
            "products[4].backorder_limit",
        ],
    );
    let known = server.client.get_stock(GetStockRequest {
        sku: "a".to_owned(),
        ..Default::default()
    });
    assert_eq!(
        known.await.unwrap_err().reason,
        "SKU_NOT_FOUND",
        "all of a batch or none"
    );
}

async fn invalid_reads_name_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let bad = GetStockRequest {
        sku: String::new(),
        location: " ".to_owned(),
        min_version: Some(-1),
    };
    names(
        server.inventory().get_stock(bad).await,
        &["sku", "location", "min_version"],
    );
    let batch = async |keys| {
        server
            .inventory()
            .batch_get_stock(BatchGetStockRequest { keys })
            .await
    };
    names(batch(vec![]).await, &["keys"]);
    let key = |sku: &str| BatchGetStockKey {
        sku: sku.to_owned(),
        ..BatchGetStockKey::default()
    };
    names(batch(vec![key("a"); 1_001]).await, &["keys"]);
    names(batch(vec![key("a"), key("ü")]).await, &["keys[1].sku"]);
    let list = async |page_size, sku_prefix: &str, page_token: &str| {
        let request = ListStockRequest {
            page_size,
            sku_prefix: sku_prefix.to_owned(),
            page_token: page_token.to_owned(),
            ..ListStockRequest::default()
        };
        server.inventory().list_stock(request).await
    };
    names(
        list(-1, "%", "???").await,
        &["page_size", "sku_prefix", "page_token"],
    );
    names(list(1_001, "", "").await, &["page_size"]);
    let get = async |key| {
        server
            .orders()
            .get_order(GetOrderRequest {
                key,
                ..GetOrderRequest::default()
            })
            .await
    };
    names(get(None).await, &["key"]);
    names(
        get(Some(Key::OrderId("17".to_owned()))).await,
        &["order_id"],
    );
    names(
        get(Some(Key::RequestId("a b".to_owned()))).await,
        &["request_id"],
    );
}

async fn an_invalid_watch_names_every_field(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let watch = async |request| server.inventory().watch_stock(request).await.map(drop);
    names(watch(WatchStockRequest::default()).await, &["selectors"]);
    let level = |sku: &str| StockSelector {
        selector: Some(Selector::Level(StockKey {
            sku: sku.to_owned(),
            ..StockKey::default()
        })),
    };
    let seen = |sku: &str, version| SeenLevel {
        sku: sku.to_owned(),
        version,
        ..SeenLevel::default()
    };
    let bad = WatchStockRequest {
        selectors: vec![level("fine"), level("?"), StockSelector { selector: None }],
        seen: vec![seen("a", 1), seen("b", -1), seen("a", 2)],
        store_id: "mine".to_owned(),
        delivery: 3,
    };
    names(
        watch(bad).await,
        &[
            "selectors[1].level.sku",
            "selectors[2]",
            "seen[1].version",
            "seen[2]",
            "store_id",
            "delivery",
        ],
    );
    let many = WatchStockRequest {
        selectors: vec![level("a"); 10_001],
        ..Default::default()
    };
    names(watch(many).await, &["selectors"]);
}

async fn violations_beyond_what_trailers_carry_are_counted(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let bad = order("many", &vec![("not a SKU", 0); 1_000]);
    let refused = refusal(server.orders().create_order(bad).await);
    refused.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.metadata("total"), "2000");
    assert_eq!(refused.fields()[..2], ["lines[0].sku", "lines[0].quantity"]);
    assert!(refused.fields().len() < 2_000);
    assert!(refused.message.len() < 500, "{}", refused.message);
}

async fn unknown_skus_and_orders_are_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    let wanted = order("r", &[("z", 1), ("a", 1), ("b", 1), ("z", 2)]);
    let refused = refusal(server.orders().create_order(wanted).await);
    refused.is(Code::NotFound, "SKU_NOT_FOUND");
    let resource = refused.details.resource_info().unwrap();
    assert_eq!(
        (&*resource.resource_type, &*resource.resource_name),
        ("stockroom.v1.Product", "b")
    );
    assert_eq!(
        (refused.metadata("skus"), refused.metadata("total")),
        ("b,z", "2")
    );
    assert!(refused.details.retry_info().is_none());

    let adjusted = server
        .inventory()
        .adjust_stock(crate::api::received("r", "z", 1))
        .await;
    refusal(adjusted).is(Code::NotFound, "SKU_NOT_FOUND");
    let keys = ["z", "a", "y", "z"].map(|sku| BatchGetStockKey {
        sku: sku.to_owned(),
        ..Default::default()
    });
    let batch = server
        .inventory()
        .batch_get_stock(BatchGetStockRequest { keys: keys.into() })
        .await;
    assert_eq!(
        refusal(batch)
            .is(Code::NotFound, "SKU_NOT_FOUND")
            .metadata("skus"),
        "y,z"
    );

    let nowhere = uuid::Uuid::from_u128(7).to_string();
    for (key, name) in [
        (Key::OrderId(nowhere.clone()), nowhere.as_str()),
        (Key::RequestId("r".to_owned()), "r"),
    ] {
        let request = GetOrderRequest {
            key: Some(key),
            ..GetOrderRequest::default()
        };
        let refused = refusal(server.orders().get_order(request).await);
        refused.is(Code::NotFound, "ORDER_NOT_FOUND");
        let resource = refused.details.resource_info().unwrap();
        assert_eq!(
            (&*resource.resource_type, &*resource.resource_name),
            ("stockroom.v1.Order", name)
        );
    }
}
