//! A replica that is well by every check and too slow for reads.

use std::time::{Duration, Instant};

use stockroom::client::proto::ServedFrom;

use super::fleet::{Fleet, get, read};
use crate::api::stock;
use crate::fixture::{DEADLINE, StoreKind, eventually};
use crate::proxy::Line;

on_postgres! {
    a_replica_whose_reads_are_slow_is_not_asked_again_after_each_check,
}

async fn a_replica_whose_reads_are_slow_is_not_asked_again_after_each_check(_: StoreKind) {
    /// Longer than a read has, and shorter than a check has.
    const ROUND_TRIP: Duration = Duration::from_millis(300);
    /// Time for several checks, each of which takes a round trip or two.
    const LONG: Duration = Duration::from_secs(5);
    let fleet = Fleet::of(1);
    let (server, proxy, metrics) = fleet
        .behind_proxy(|config| config.store.replica_timeout_ms = 250)
        .await;
    stock(&server.client, "a", 10).await;
    fleet.catch_up();
    proxy.set(Line::delayed(ROUND_TRIP));
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        let answer = get(&server.client, "a", Some(1)).await;
        assert_eq!(read(&answer), (1, ServedFrom::Primary));
    }
    eventually("it is left out", async || metrics.serves.get() == 0).await;
    assert_eq!(metrics.left_out.get(), 1);
    proxy.set(Line::Up);
    eventually("it is taken back", async || metrics.serves.get() == 1).await;
    let deadline = Instant::now() + DEADLINE;
    while get(&server.client, "a", Some(1)).await.served_from() != ServedFrom::Replica {
        assert!(Instant::now() < deadline, "it is not asked");
    }
}
