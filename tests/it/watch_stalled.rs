//! Readers that stop reading while the database is slow to read for them. PostgreSQL alone
//! can be made to.

use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{WatchDelivery, WatchStockRequest};

use crate::api::stock;
use crate::fixture::{Stockroom, StoreKind};
use crate::holding::Hold;
use crate::watch_bounds::{connection, open};
use crate::watching::{Watcher, everything, level_of, seen, watch_of};

on_postgres! {
    snapshots_of_readers_that_stop_reading_keep_nobody_waiting,
    histories_of_readers_that_stop_reading_keep_nobody_waiting,
}

async fn snapshots_of_readers_that_stop_reading_keep_nobody_waiting(store: StoreKind) {
    others_go_on(store, "stock_level", watch_of(vec![everything()])).await;
}

async fn histories_of_readers_that_stop_reading_keep_nobody_waiting(store: StoreKind) {
    let every_change = WatchStockRequest {
        seen: vec![seen("a", 0)],
        delivery: WatchDelivery::EveryChange.into(),
        ..watch_of(vec![level_of("a")])
    };
    others_go_on(store, "movement", every_change).await;
}

/// Room for the beginning of a stream and for fewer heartbeats than will come.
const WINDOW_BYTES: u32 = 128;
const HEARTBEATS: usize = 12;

/// More readers than may read at a time stop reading while nobody can read `table`.
async fn others_go_on(store: StoreKind, table: &'static str, watch: WatchStockRequest) {
    const STALLED: usize = 4;
    let server = Stockroom::with(store, |config| {
        config.watch.heartbeat_ms = 100;
        // Longer than anybody waits here.
        config.store.statement_timeout_ms = 60_000;
    })
    .await;
    stock(&server.client, "a", 10).await;
    let hold = Hold::on_all_of(&server.home, table).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let reader = connection(&server.addr.to_string(), WINDOW_BYTES).await;
        let stream = open(&reader, watch.clone()).await.unwrap();
        stalled.push((reader, stream));
    }
    hold.has_waiter().await;
    // The others have been sent as many, and have no room for another.
    let mut reading = Watcher::open(&server, watch).await;
    for _ in 0..HEARTBEATS {
        let event = reading.next().await;
        assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");
    }
    drop(hold);
    reading.sync().await;
    assert_eq!(reading.versions(), [("a", 1)]);
}
