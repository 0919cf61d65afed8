//! WatchStock of levels that have had no stock yet, whose products change what is shown of
//! them without a version.

use crate::api::received;
use crate::backorders::put_limited;
use crate::fixture::{Stockroom, StoreKind};
use crate::watching::{Watcher, level_of, watch_of};

on_each_store! {
    a_level_without_stock_is_shown_with_its_products_present_limit,
}

async fn a_level_without_stock_is_shown_with_its_products_present_limit(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let mut watchers = Vec::new();
    for limit in [0, 50, 20] {
        put_limited(&server.client, "x", limit).await;
        // Those that came before watch on.
        let watcher = Watcher::synced(&server, watch_of(vec![level_of("x")])).await;
        let shown = watcher.level("x").unwrap();
        assert_eq!((shown.version, shown.backorder_limit), (0, limit));
        watchers.push(watcher);
    }
    let first_units = received("first", "x", 1);
    server.client.adjust_stock(first_units).await.unwrap();
    for mut watcher in watchers {
        let shown = watcher.until("x", 1).await;
        assert_eq!((shown.on_hand, shown.backorder_limit), (1, 20));
    }
}
