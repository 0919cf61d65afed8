//! What callers see of an order's life.

use stockroom::client::proto::{
    CancelOrderRequest, CreateOrderRequest, ListMovementsRequest, ListOrdersRequest, MovementKind,
    OrderState, list_movements_request::Scope,
};
use tonic::Code;

use super::{hold, read};
use crate::api::{cancel, confirm, extend, hold_of, level, order, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    a_hold_reserves_until_it_is_confirmed,
    a_cancelled_hold_gives_back_what_it_reserved,
    a_confirmed_order_that_is_cancelled_is_restocked_unless_it_shall_not_be,
    an_extension_never_shortens_a_hold,
    what_does_not_fit_an_orders_state_changes_nothing,
    the_movements_of_an_order_are_found_whatever_became_of_it,
    orders_are_listed_by_state_and_by_the_level_that_they_hold,
    a_change_that_is_only_validated_is_answered_and_not_made,
}

async fn a_change_that_is_only_validated_is_answered_and_not_made(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let tried = CreateOrderRequest {
        validate_only: true,
        hold: Some(hold_of(60)),
        ..order("hold", &[("a", 4)])
    };
    let tried = client.create_order(tried).await.unwrap().order.unwrap();
    assert_eq!(
        (tried.order_id.as_str(), tried.state()),
        ("", OrderState::Pending)
    );
    let held = hold(client, "hold", &[("a", 4)], 60).await;
    let before = (level(client, "a").await, read(client, &held.order_id).await);
    let mut confirm = confirm("end", &held.order_id);
    confirm.validate_only = true;
    let order = client.confirm_order(confirm.clone()).await.unwrap().order;
    assert_eq!(order.unwrap().state(), OrderState::Confirmed);
    let mut cancel = cancel("end", &held.order_id);
    cancel.validate_only = true;
    let order = client.cancel_order(cancel).await.unwrap().order;
    assert_eq!(order.unwrap().state(), OrderState::Cancelled);
    let mut extend = extend("end", &held.order_id, 600);
    extend.validate_only = true;
    let order = client.extend_hold(extend).await.unwrap().order.unwrap();
    assert!(order.expire_time.unwrap().seconds > held.expire_time.unwrap().seconds + 500);
    let after = (level(client, "a").await, read(client, &held.order_id).await);
    assert_eq!(after, before);
    // In earnest, and then as its repeat.
    confirm.validate_only = false;
    client.confirm_order(confirm.clone()).await.unwrap();
    confirm.validate_only = true;
    assert!(client.confirm_order(confirm).await.unwrap().replayed);
}

async fn a_hold_reserves_until_it_is_confirmed(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let held = hold(client, "hold", &[("a", 3), ("a", 1)], 60).await;
    assert_eq!((held.state(), held.version), (OrderState::Pending, 1));
    assert!(held.expire_time.is_some());
    let now = level(client, "a").await;
    assert_eq!(
        (now.on_hand, now.reserved, now.available, now.version),
        (10, 4, 6, 2)
    );
    let much = order("much", &[("a", 7)]);
    let refused = client.create_order(much).await.unwrap_err();
    assert_eq!(refused.reason, "INSUFFICIENT_STOCK");
    let taken = client
        .confirm_order(confirm("take", &held.order_id))
        .await
        .unwrap();
    let taken = taken.order.unwrap();
    assert_eq!((taken.state(), taken.version), (OrderState::Confirmed, 2));
    assert_eq!(
        (taken.expire_time, taken.request_id.as_str()),
        (None, "hold")
    );
    assert!(taken.lines.iter().all(|line| line.version == 3));
    let now = level(client, "a").await;
    assert_eq!((now.on_hand, now.reserved, now.version), (6, 0, 3));
    assert_eq!(read(client, &held.order_id).await.order.unwrap(), taken);
}

async fn a_cancelled_hold_gives_back_what_it_reserved(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let held = hold(client, "hold", &[("a", 4)], 60).await;
    let request = CancelOrderRequest {
        reason: "changed their mind".to_owned(),
        // Nothing has left the shelf that could stay away.
        restock: Some(false),
        ..cancel("cancel", &held.order_id)
    };
    let gone = client.cancel_order(request).await.unwrap().order.unwrap();
    assert_eq!(gone.state(), OrderState::Cancelled);
    assert_eq!(gone.cancel_reason, "changed their mind");
    let now = level(client, "a").await;
    assert_eq!((now.on_hand, now.reserved, now.version), (10, 0, 3));
}

async fn a_confirmed_order_that_is_cancelled_is_restocked_unless_it_shall_not_be(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    for (request_id, restock, on_hand) in [("back", None, 10), ("lost", Some(false), 7)] {
        let made = client.create_order(order(request_id, &[("a", 3)])).await;
        let id = made.unwrap().order.unwrap().order_id;
        let request = CancelOrderRequest {
            restock,
            ..cancel(&format!("cancel-{request_id}"), &id)
        };
        let gone = client.cancel_order(request).await.unwrap().order.unwrap();
        assert_eq!((gone.state(), gone.version), (OrderState::Cancelled, 2));
        let now = level(client, "a").await;
        assert_eq!((now.on_hand, now.reserved), (on_hand, 0), "{request_id}");
    }
}

async fn an_extension_never_shortens_a_hold(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let held = hold(client, "hold", &[("a", 1)], 600).await;
    let shorter = client
        .extend_hold(extend("shorter", &held.order_id, 1))
        .await;
    let shorter = shorter.unwrap().order.unwrap();
    assert_eq!(
        (shorter.expire_time, shorter.version),
        (held.expire_time, 2)
    );
    let longer = client
        .extend_hold(extend("longer", &held.order_id, 6_000))
        .await;
    let longer = longer.unwrap().order.unwrap();
    assert!(longer.expire_time.unwrap().seconds > held.expire_time.unwrap().seconds + 5_000);
    assert_eq!(longer.state(), OrderState::Pending);
    // Nothing of the level has changed.
    assert_eq!(level(client, "a").await.version, 2);
}

async fn what_does_not_fit_an_orders_state_changes_nothing(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    let held = hold(client, "hold", &[("a", 1)], 60).await;
    let sold = client
        .create_order(order("sold", &[("a", 1)]))
        .await
        .unwrap();
    let (held, sold) = (held.order_id, sold.order.unwrap().order_id);
    client.cancel_order(cancel("gone", &held)).await.unwrap();
    let before = level(client, "a").await;
    let mut orders = server.orders();
    for (order_id, state) in [(&held, "CANCELLED"), (&sold, "CONFIRMED")] {
        let refused = refusal(orders.confirm_order(confirm("again", order_id)).await);
        refused.is(Code::FailedPrecondition, "ORDER_STATE");
        assert_eq!(refused.metadata("state"), state);
        let refused = refusal(orders.extend_hold(extend("again", order_id, 60)).await);
        assert_eq!(refused.metadata("state"), state);
    }
    let refused = refusal(orders.cancel_order(cancel("again", &held)).await);
    assert_eq!(refused.metadata("state"), "CANCELLED");
    assert_eq!(level(client, "a").await, before);
    // The id of a request that was refused is free.
    client.cancel_order(cancel("again", &sold)).await.unwrap();
}

async fn the_movements_of_an_order_are_found_whatever_became_of_it(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 10).await;
    stock(client, "b", 10).await;
    let held = hold(client, "hold", &[("b", 2), ("a", 3), ("b", 1)], 60).await;
    client
        .confirm_order(confirm("take", &held.order_id))
        .await
        .unwrap();
    let request = CancelOrderRequest {
        reason: "sent back".to_owned(),
        ..cancel("back", &held.order_id)
    };
    client.cancel_order(request).await.unwrap();
    let movements = read(client, &held.order_id).await.movements;
    let told = movements.iter().map(|m| {
        assert_eq!(m.order_id, held.order_id);
        (
            m.sku.as_str(),
            m.kind(),
            m.on_hand_delta,
            m.reserved_delta,
            m.note.as_str(),
        )
    });
    let expected = [
        ("a", MovementKind::Reserved, 0, 3, ""),
        ("a", MovementKind::Confirmed, -3, -3, ""),
        ("a", MovementKind::Cancelled, 3, 0, "sent back"),
        ("b", MovementKind::Reserved, 0, 3, ""),
        ("b", MovementKind::Confirmed, -3, -3, ""),
        ("b", MovementKind::Cancelled, 3, 0, "sent back"),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // The same page by page.
    let mut request = ListMovementsRequest {
        scope: Some(Scope::OrderId(held.order_id.clone())),
        page_size: 2,
        ..ListMovementsRequest::default()
    };
    let mut paged = Vec::new();
    loop {
        let page = client.list_movements(request.clone()).await.unwrap();
        paged.extend(page.movements);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, movements);
}

async fn orders_are_listed_by_state_and_by_the_level_that_they_hold(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 100).await;
    let mut ids = Vec::new();
    for i in 0..4 {
        ids.push(
            hold(client, &format!("hold-{i}"), &[("a", 1)], 60)
                .await
                .order_id,
        );
    }
    client.confirm_order(confirm("c", &ids[1])).await.unwrap();
    client.cancel_order(cancel("d", &ids[2])).await.unwrap();
    let listed = async |state: OrderState, by_level: bool| {
        let request = ListOrdersRequest {
            state: state.into(),
            level: by_level.then(|| stockroom::client::proto::StockKey {
                sku: "a".to_owned(),
                location: String::new(),
            }),
            ..ListOrdersRequest::default()
        };
        let page = client.list_orders(request).await.unwrap();
        page.orders
            .into_iter()
            .map(|order| order.order_id)
            .collect::<Vec<_>>()
    };
    for by_level in [false, true] {
        let of = |places: &[usize]| places.iter().map(|i| ids[*i].clone()).collect::<Vec<_>>();
        assert_eq!(listed(OrderState::Pending, by_level).await, of(&[3, 0]));
        assert_eq!(listed(OrderState::Confirmed, by_level).await, of(&[1]));
        assert_eq!(listed(OrderState::Cancelled, by_level).await, of(&[2]));
        assert_eq!(
            listed(OrderState::Unspecified, by_level).await,
            of(&[3, 2, 1, 0])
        );
    }
}
