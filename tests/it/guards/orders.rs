//! Orders: all of a unit's buyers but one are refused, whatever happens at once.

use futures_util::future::join_all;

use super::shop::{Cell, Shop};
use crate::api::{level, order, put, refusal, stock};

pub(super) async fn sixty_four_clients_on_ten_units_sell_ten(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "last", 10).await;
    let answers = join_all((0..64).map(|i| {
        let shop = &shop;
        async move {
            let client = shop.server(i).another_client().await.retrying();
            let request = order(&format!("buyer-{i}"), &[("last", 1)]);
            client.create_order(&request).await
        }
    }))
    .await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let reasons: Vec<&str> = refused.map(|e| e.reason.as_str()).collect();
    assert_eq!(reasons, ["INSUFFICIENT_STOCK"; 54]);
    for server in &shop.servers {
        let left = level(&server.client, "last").await;
        assert_eq!((left.on_hand, left.version), (0, 11));
    }
}

pub(super) async fn lines_of_one_level_are_summed_and_make_one_movement(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 20).await;
    stock(shop.client(0), "b", 20).await;
    // The second is told to an instance that has not seen the first.
    for (i, version) in [2, 3].into_iter().enumerate() {
        let request = order(&format!("doubled-{i}"), &[("a", 3), ("b", 1), ("a", 4)]);
        let made = shop.retrying(i).create_order(&request).await.unwrap();
        let lines = made.order.unwrap().lines;
        let lines: Vec<_> = lines
            .iter()
            .map(|l| (l.sku.as_str(), l.quantity, l.version))
            .collect();
        let expected = [("a", 3, version), ("b", 1, version), ("a", 4, version)];
        assert_eq!(lines, expected);
    }
    let left = level(shop.client(0), "a").await;
    assert_eq!((left.on_hand, left.version), (6, 3));
    // Fits only if its lines are checked apart.
    let greedy = order("greedy", &[("a", 4), ("a", 4)]);
    let refused = shop.client(1).create_order(greedy).await.unwrap_err();
    assert_eq!(refused.reason, "INSUFFICIENT_STOCK");
}

pub(super) async fn an_order_is_all_or_nothing(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "plenty", 100).await;
    stock(shop.client(0), "scarce", 1).await;
    put(shop.client(0), "never", 0).await;
    let request = order("wide", &[("plenty", 1), ("scarce", 2), ("never", 5)]);
    let refused = refusal(shop.server(1).orders().create_order(request).await);
    let short = refused.details.precondition_failure().unwrap();
    let short: Vec<_> = short
        .violations
        .iter()
        .map(|v| {
            (
                v.r#type.as_str(),
                v.subject.as_str(),
                v.description.as_str(),
            )
        })
        .collect();
    // Every level that is short, not just the first.
    let expected = [
        ("STOCK", "never@main", "requested 5, available 0"),
        ("STOCK", "scarce@main", "requested 2, available 1"),
    ];
    assert_eq!(short, expected);
    assert_eq!(level(shop.client(0), "plenty").await.on_hand, 100);
    assert_eq!(shop.home.books().orders, 0);
    // Of those that race for the scarce one, the others take nothing of the plenty.
    let requests: Vec<_> = (0..8)
        .map(|i| order(&format!("racing-{i}"), &[("plenty", 1), ("scarce", 1)]))
        .collect();
    let answers = shop.order_all(&requests).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let reasons: Vec<&str> = refused.map(|e| e.reason.as_str()).collect();
    assert_eq!(reasons, ["INSUFFICIENT_STOCK"; 7]);
    assert_eq!(level(shop.client(0), "plenty").await.on_hand, 99);
}

pub(super) async fn an_order_that_does_not_fit_harms_no_neighbour(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    // Sent at once, so that they share batches: every third asks for too much,
    // every third for what nobody knows.
    let requests: Vec<_> = (0..60)
        .map(|i| match i % 3 {
            0 => order(&format!("fits-{i}"), &[("a", 1)]),
            1 => order(&format!("short-{i}"), &[("a", 1_000)]),
            _ => order(&format!("unknown-{i}"), &[("a", 1), ("nowhere", 1)]),
        })
        .collect();
    let answers = shop.order_all(&requests).await;
    for (i, answer) in answers.iter().enumerate() {
        let reason = answer.as_ref().err().map_or("", |e| &e.reason);
        let expected = ["", "INSUFFICIENT_STOCK", "SKU_NOT_FOUND"][i % 3];
        assert_eq!(reason, expected, "order {i}");
    }
    assert_eq!(level(shop.client(0), "a").await.on_hand, 80);
    let (commits, orders) = shop.commits_and_orders();
    assert_eq!(orders, 20);
    if shop.batches() {
        let receipts = 1;
        assert!(commits < receipts + orders, "none of {orders} shared one");
    }
}

pub(super) async fn wide_orders_in_opposite_line_orders_never_deadlock(cell: Cell) {
    const ORDERS: usize = 60;
    let shop = Shop::open(cell).await;
    // Names that byte order and a dictionary put differently.
    let skus = ["85123A", "85123a", "B", "a", "Z-1", "z_1", "_b", "-c"];
    for sku in skus {
        stock(shop.client(0), sku, 1_000).await;
    }
    let requests: Vec<_> = (0..ORDERS)
        .map(|i| {
            let mut lines = skus.map(|sku| (sku, 1));
            lines.rotate_left(i % skus.len());
            if i % 2 == 0 {
                lines.reverse();
            }
            order(&format!("wide-{i}"), &lines)
        })
        .collect();
    let answers = shop.order_all(&requests).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for sku in skus {
        assert_eq!(level(shop.client(1), sku).await.on_hand, 940);
    }
}
