//! Reading the ledger through the API. (`every_change` has the stream of it.)

use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::{
    GetOrderRequest, ListMovementsRequest, Movement, MovementKind, StockKey,
};
use tonic::Code;

use crate::api::{counted, order, put, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

mod by_time;

on_each_store! {
    the_history_of_a_level_has_no_gap_and_resumes_at_any_version,
    an_order_tells_its_movements_by_either_call,
    what_has_no_history_has_no_movements_and_what_is_unknown_is_named,
    what_breaks_a_bound_is_named,
}

fn of_level(sku: &str, page_size: i32) -> ListMovementsRequest {
    ListMovementsRequest {
        page_size,
        scope: Some(Scope::Level(StockKey {
            sku: sku.to_owned(),
            ..StockKey::default()
        })),
        ..ListMovementsRequest::default()
    }
}

fn of_order(id: &str, page_size: i32) -> ListMovementsRequest {
    ListMovementsRequest {
        page_size,
        scope: Some(Scope::OrderId(id.to_owned())),
        ..ListMovementsRequest::default()
    }
}

/// Every movement that `request` lists, with something done after each page.
async fn list(
    server: &Stockroom,
    mut request: ListMovementsRequest,
    between: impl AsyncFn(usize),
) -> Vec<Movement> {
    let mut listed = Vec::new();
    loop {
        let page = server.client.list_movements(request.clone()).await;
        let page = page.unwrap();
        assert!(page.movements.len() <= request.page_size as usize);
        listed.extend(page.movements);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return listed;
        }
        between(listed.len()).await;
    }
}

fn versions(movements: &[Movement]) -> Vec<i64> {
    movements.iter().map(|movement| movement.version).collect()
}

async fn the_history_of_a_level_has_no_gap_and_resumes_at_any_version(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    // Neighbours in the primary key.
    stock(&server.client, "a.b", 100).await;
    stock(&server.client, "A", 100).await;
    let mut york = received("york", "a", 1);
    york.location = "york".to_owned();
    server.client.adjust_stock(york).await.unwrap();
    let mut count = counted("count", "a", 90);
    count.note = "a \"note\"".to_owned();
    let made = server.client.adjust_stock(count).await.unwrap();
    put(&server.client, "a", 5).await;
    let sold = order("sold", &[("a", 2), ("a", 1), ("a.b", 1)]);
    let sold = server.client.create_order(sold).await.unwrap();

    let all = list(&server, of_level("a", 1_000), async |_| {}).await;
    assert_eq!(versions(&all), [1, 2, 3, 4]);
    assert_eq!(all[1], made.movement.unwrap());
    let kinds: Vec<_> = all.iter().map(Movement::kind).collect();
    let (received, count) = (MovementKind::Received, MovementKind::Count);
    let (threshold, ordered) = (MovementKind::Threshold, MovementKind::Ordered);
    assert_eq!(kinds, [received, count, threshold, ordered]);
    let last = &all[3];
    assert_eq!((last.on_hand_delta, last.on_hand), (-3, 87));
    assert_eq!(last.order_id, sold.order.unwrap().order_id);

    // A page, and what comes after it, while more happens.
    let sell = async |listed| {
        let more = order(&format!("more-{listed}"), &[("a", 1)]);
        server.client.create_order(more).await.unwrap();
    };
    let paged = list(&server, of_level("a", 2), sell).await;
    let count = paged.len() as i64;
    assert!(count > 4, "what is sold meanwhile is listed as well");
    assert_eq!(versions(&paged), (1..=count).collect::<Vec<_>>());
    assert_eq!(paged[..4], all);
    for after_version in [0, 3, count, count + 7] {
        let later = ListMovementsRequest {
            after_version,
            ..of_level("a", 2)
        };
        let later = list(&server, later, async |_| {}).await;
        let expected: Vec<_> = (after_version + 1..=count).collect();
        assert_eq!(versions(&later), expected);
    }
}

async fn an_order_tells_its_movements_by_either_call(store: StoreKind) {
    let server = Stockroom::start(store).await;
    for sku in ["a", "B", "c"] {
        stock(&server.client, sku, 10).await;
    }
    let basket = order("basket", &[("c", 1), ("a", 2), ("B", 3), ("c", 4)]);
    let made = server.client.create_order(basket).await.unwrap();
    let id = made.order.unwrap().order_id;
    let whole = list(&server, of_order(&id, 1_000), async |_| {}).await;
    let changed: Vec<_> = whole
        .iter()
        .map(|m| (&*m.sku, m.on_hand_delta, m.version, m.kind()))
        .collect();
    let ordered = MovementKind::Ordered;
    let expected = [("B", -3, 2), ("a", -2, 2), ("c", -5, 2)];
    assert_eq!(
        changed,
        expected.map(|(sku, delta, at)| (sku, delta, at, ordered))
    );
    assert!(whole.iter().all(|movement| movement.order_id == id));
    let paged = list(&server, of_order(&id, 1), async |_| {}).await;
    assert_eq!(paged, whole);
    for (with_movements, expected) in [(true, whole), (false, Vec::new())] {
        let request = GetOrderRequest {
            key: Some(Key::RequestId("basket".to_owned())),
            with_movements,
            ..GetOrderRequest::default()
        };
        let read = server.client.get_order(request).await.unwrap();
        assert_eq!(read.movements, expected);
        assert_eq!(read.order.unwrap().order_id, id);
    }
}

async fn what_has_no_history_has_no_movements_and_what_is_unknown_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    put(&server.client, "bare", 0).await;
    let none = list(&server, of_level("bare", 10), async |_| {}).await;
    assert_eq!(none, []);
    let mut inventory = server.inventory();
    let unknown = refusal(inventory.list_movements(of_level("z", 10)).await);
    unknown.is(Code::NotFound, "SKU_NOT_FOUND");
    assert_eq!(unknown.metadata("skus"), "z");
    let nowhere = uuid::Uuid::from_u128(7).to_string();
    let unknown = refusal(inventory.list_movements(of_order(&nowhere, 10)).await);
    unknown.is(Code::NotFound, "ORDER_NOT_FOUND");
    let resource = unknown.details.resource_info().unwrap();
    assert_eq!(resource.resource_name, nowhere);
}

async fn what_breaks_a_bound_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1).await;
    for count in 0..2 {
        let request = counted(&format!("count-{count}"), "a", 1);
        server.client.adjust_stock(request).await.unwrap();
    }
    let fields = async |request: ListMovementsRequest| {
        let refused = refusal(server.inventory().list_movements(request).await);
        refused.is(Code::InvalidArgument, "INVALID_REQUEST");
        refused.fields().join(" ")
    };
    let page_token = "???".to_owned();
    let bad = ListMovementsRequest {
        page_token,
        after_version: -1,
        ..of_level("?", 1_001)
    };
    let named = fields(bad).await;
    assert_eq!(named, "page_size after_version level.sku page_token");
    let of_all = ListMovementsRequest {
        after_version: 1,
        page_token: "AAAA".to_owned(),
        ..ListMovementsRequest::default()
    };
    assert_eq!(fields(of_all).await, "after_version page_token");
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let backwards = ListMovementsRequest {
        start_time: time(7),
        end_time: time(7),
        ..of_level("a", 1)
    };
    assert_eq!(fields(backwards).await, "end_time");
    let never = ListMovementsRequest {
        start_time: time(i64::MAX),
        ..ListMovementsRequest::default()
    };
    assert_eq!(fields(never).await, "start_time");
    let mixed = ListMovementsRequest {
        after_version: 1,
        start_time: time(1),
        ..of_order("17", -1)
    };
    let named = fields(mixed).await;
    assert_eq!(named, "page_size after_version start_time order_id");
    // A token belongs to the list that it was given for.
    let page = server.client.list_movements(of_level("a", 1)).await;
    let page_token = page.unwrap().next_page_token;
    for other in [
        of_level("b", 1),
        of_order(&uuid::Uuid::nil().to_string(), 1),
    ] {
        let page_token = page_token.clone();
        let other = ListMovementsRequest {
            page_token,
            ..other
        };
        assert_eq!(fields(other).await, "page_token");
    }
    let longer = ListMovementsRequest {
        page_token,
        ..of_level("a", 2)
    };
    let page = server.client.list_movements(longer).await.unwrap();
    assert_eq!(versions(&page.movements), [2, 3]);
    assert_eq!(page.next_page_token, "");
}

mod of_a_broken_store {
    use super::*;

    on_postgres! {
        a_hole_in_the_ledger_is_never_passed_over,
        a_movement_of_another_order_is_never_shown_as_an_orders_own,
    }

    /// A server whose ledger of `a` is what came in, then the orders `x` and `y`.
    async fn sold(store: StoreKind) -> Stockroom {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 5).await;
        for id in ["x", "y"] {
            let sale = order(id, &[("a", 1)]);
            server.client.create_order(sale).await.unwrap();
        }
        server
    }

    /// The order `x` with its movements.
    fn of_x() -> GetOrderRequest {
        GetOrderRequest {
            key: Some(Key::RequestId("x".to_owned())),
            with_movements: true,
            ..GetOrderRequest::default()
        }
    }

    async fn a_hole_in_the_ledger_is_never_passed_over(store: StoreKind) {
        let server = sold(store).await;
        let home = &server.home;
        home.sql("CREATE TABLE lost AS SELECT * FROM movement WHERE version = 2");
        home.sql("DELETE FROM movement WHERE version = 2");
        let mut inventory = server.inventory();
        let refused = refusal(inventory.list_movements(of_level("a", 10)).await);
        refused.is(Code::Internal, "INTERNAL");
        let refused = refusal(server.orders().get_order(of_x()).await);
        refused.is(Code::Internal, "INTERNAL");
        // What lies before it, and after it, is told.
        let before = server.client.list_movements(of_level("a", 1)).await;
        assert!(before.is_err(), "the page would not know what comes next");
        let after = ListMovementsRequest {
            after_version: 2,
            ..of_level("a", 10)
        };
        let after = list(&server, after, async |_| {}).await;
        assert_eq!(versions(&after), [3]);
        home.sql("INSERT INTO movement SELECT * FROM lost");
        let all = list(&server, of_level("a", 1), async |_| {}).await;
        assert_eq!(versions(&all), [1, 2, 3]);
    }

    async fn a_movement_of_another_order_is_never_shown_as_an_orders_own(store: StoreKind) {
        let server = sold(store).await;
        let home = &server.home;
        // The version that the other order made.
        home.sql("UPDATE orders SET moved = '[[3]]' WHERE request_id = 'x'");
        let refused = refusal(server.orders().get_order(of_x()).await);
        refused.is(Code::Internal, "INTERNAL");
        home.sql("UPDATE orders SET moved = NULL WHERE request_id = 'x'");
        let read = server.client.get_order(of_x()).await.unwrap();
        assert_eq!(versions(&read.movements), [2]);
    }
}
