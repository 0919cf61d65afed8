//! Backorders: the limit holds under every guard, however many ask at once.

use futures_util::future::join_all;
use stockroom::client::proto::{CreateOrderRequest, PutProductsRequest};

use super::shop::{Cell, Shop};
use crate::api::{hold_of, level, order, product, put, received, stock};
use crate::backorders::{put_limited, stock_limited};

/// Orders that take at once and orders that hold, in turns.
fn orders(count: usize, sku: &str, units: i64) -> Vec<CreateOrderRequest> {
    let orders = (0..count).map(|i| CreateOrderRequest {
        hold: (i % 2 == 1).then(|| hold_of(600)),
        ..order(&format!("o-{i}"), &[(sku, units)])
    });
    orders.collect()
}

/// Four units are there and six may be owed, at one level that has a row and at one that
/// gets it from the first of them.
pub(super) async fn of_all_who_race_for_the_last_units_on_backorder_as_many_get_them_as_there_are(
    cell: Cell,
) {
    let shop = Shop::open(cell).await;
    stock_limited(shop.client(0), "a", 4, 6).await;
    put_limited(shop.client(0), "b", 6).await;
    for (sku, there) in [("a", 4), ("b", 0)] {
        let requests: Vec<_> = orders(40, sku, 1)
            .into_iter()
            .map(|mut order| {
                order.request_id = format!("{sku}-{}", order.request_id);
                order
            })
            .collect();
        let answers = shop.order_all(&requests).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let reasons = refused.into_iter().map(|r| r.unwrap_err().reason);
        assert!(reasons.into_iter().all(|r| r == "INSUFFICIENT_STOCK"));
        assert_eq!(made.len() as i64, there + 6, "{sku}");
        let lines = made
            .into_iter()
            .flat_map(|it| it.unwrap().order.unwrap().lines);
        let owed: Vec<i64> = lines.map(|line| line.backordered).collect();
        assert_eq!(owed.iter().sum::<i64>(), 6, "{sku}: {owed:?}");
        let left = level(shop.client(1), sku).await;
        // Those orders, and the receipt where there was one.
        let version = there + 6 + i64::from(there > 0);
        assert_eq!((left.available, left.version), (-6, version), "{sku}");
    }
}

/// It rises and is brought down again, as far as what is owed lets it, while orders take
/// and goods come in.
pub(super) async fn a_limit_that_changes_under_load_is_never_passed(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 10).await;
    let selling = orders(48, "a", 2);
    let selling = shop.order_all(&selling);
    let receiving = join_all((0..12).map(|i| {
        let client = shop.retrying(i);
        let request = received(&format!("in-{i}"), "a", 1);
        async move { client.adjust_stock(&request).await }
    }));
    let changing = async {
        for (i, limit) in [5, 1, 9, 0, 14, 3].into_iter().enumerate() {
            let mut limited = product("a", 0);
            limited.backorder_limit = limit;
            let request = PutProductsRequest {
                products: vec![limited],
                ..PutProductsRequest::default()
            };
            if let Err(error) = shop.retrying(i).put_products(&request).await {
                assert_eq!(error.reason, "BACKORDERS_REMAIN", "{error}");
            }
        }
    };
    let (sold, goods, ()) = tokio::join!(selling, receiving, changing);
    assert!(goods.iter().all(Result::is_ok), "{goods:?}");
    let (made, refused): (Vec<_>, Vec<_>) = sold.into_iter().partition(Result::is_ok);
    let reasons = refused.into_iter().map(|r| r.unwrap_err().reason);
    assert!(reasons.into_iter().all(|r| r == "INSUFFICIENT_STOCK"));
    // The books say that no level lies below its limit, and each movement what it left.
    let left = level(shop.client(1), "a").await;
    assert_eq!(left.available, 10 + 12 - 2 * made.len() as i64);
    assert!(left.available >= -left.backorder_limit, "{left:?}");
    if left.available < 0 {
        let owed = received("owed", "a", -left.available);
        shop.retrying(0).adjust_stock(&owed).await.unwrap();
    }
    put(shop.client(1), "a", 0).await;
    assert_eq!(level(shop.client(0), "a").await.backorder_limit, 0);
}
