//! Snapshots that replicas are read for are as good as the primary's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stockroom::client::proto::ServedFrom;

use super::fleet::{Fleet, get, sell, wait_until_served};
use crate::api::stock;
use crate::chaos::rounds;
use crate::fixture::{StoreKind, eventually};
use crate::histories::{Shop, WRITES, audited, holds};
use crate::servers::postgres::Server;
use crate::watching::{Watcher, everything, level_of, seen, watch_of};

on_postgres! {
    a_snapshot_has_all_that_was_committed_before_the_stream_however_late_the_replica_is,
    snapshots_come_from_replicas_that_have_caught_up,
    a_replica_that_is_late_is_waited_for_once,
    only_the_primary_says_that_a_version_fell,
    watchers_end_at_the_truth_while_replicas_pause_and_are_killed,
}

/// Nothing but the snapshot and what is committed here tells watchers anything.
fn without_reread(config: &mut stockroom::config::Config) {
    config.watch.reread_interval_ms = 60_000;
}

async fn a_snapshot_has_all_that_was_committed_before_the_stream_however_late_the_replica_is(
    _: StoreKind,
) {
    let fleet = Fleet::of(1);
    let server = fleet
        .stockroom(|config| {
            without_reread(config);
            config.store.replica_timeout_ms = 200;
        })
        .await;
    stock(&server.client, "a", 100).await;
    fleet.catch_up();
    let replica = &fleet.replicas[0];
    replica.pause_replay();
    // One that is changed, and one that the replica has never heard of; and the feed may
    // know them already, on behalf of somebody else, or not.
    for watched in [false, true] {
        let other = watch_of(vec![everything()]);
        let _other = match watched {
            true => Some(Watcher::synced(&server, other).await),
            false => None,
        };
        sell(&server, &format!("{watched}"), 3).await;
        stock(&server.client, &format!("new-{watched}"), 5).await;
        for selector in [everything(), level_of("a")] {
            let all = selector == everything();
            let watcher = Watcher::synced(&server, watch_of(vec![selector])).await;
            let sold = if watched { 7 } else { 4 };
            assert_eq!(watcher.level("a").unwrap().version, sold);
            if all {
                let new = watcher.level(&format!("new-{watched}")).unwrap();
                assert_eq!(new.on_hand, 5);
            }
        }
    }
    replica.resume_replay();
    // Now that it has all of it, it serves one read: what it served before would be counted too.
    eventually("it serves a read", async || {
        let answer = get(&server.client, "a", Some(7)).await;
        answer.served_from() == ServedFrom::Replica
    })
    .await;
    let metrics = server.counters.replica(&replica.name());
    eventually("reads are counted", async || {
        metrics.served.get() > 0 && metrics.behind.get() > 0
    })
    .await;
    assert_eq!(metrics.served.get(), 1);
}

async fn snapshots_come_from_replicas_that_have_caught_up(_: StoreKind) {
    let fleet = Fleet::of(2);
    let server = fleet.stockroom(without_reread).await;
    stock(&server.client, "a", 100).await;
    for i in 0..5 {
        // Asked for right after a commit: the replica is waited for.
        sell(&server, &format!("o-{i}"), 1).await;
        let watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
        assert_eq!(watcher.versions(), [("a", 2 + i)]);
    }
    wait_until_served(&server, &fleet.replicas).await;
}

async fn a_replica_that_is_late_is_waited_for_once(_: StoreKind) {
    const TIMEOUT: Duration = Duration::from_millis(1_000);
    const STREAMS: u32 = 20;
    let fleet = Fleet::of(1);
    let server = fleet
        .stockroom(|config| config.store.replica_timeout_ms = TIMEOUT.as_millis() as u64)
        .await;
    stock(&server.client, "a", 100).await;
    fleet.catch_up();
    fleet.replicas[0].pause_replay();
    sell(&server, "o", 1).await;
    let began = Instant::now();
    for _ in 0..STREAMS {
        let watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
        assert_eq!(watcher.versions(), [("a", 2)]);
    }
    // Once, and what twenty streams take on a busy machine.
    let took = began.elapsed();
    assert!(took < TIMEOUT * STREAMS / 4, "{took:?}");
    fleet.replicas[0].resume_replay();
}

async fn only_the_primary_says_that_a_version_fell(_: StoreKind) {
    let fleet = Fleet::of(1);
    let server = fleet.stockroom(without_reread).await;
    stock(&server.client, "a", 100).await;
    stock(&server.client, "b", 100).await;
    fleet.catch_up();
    let mut request = watch_of(vec![everything()]);
    // More than there ever was: the store has lost commits since.
    request.seen = vec![seen("a", 9), seen("b", 1)];
    let watcher = Watcher::synced(&server, request).await;
    assert_eq!((watcher.resets, watcher.versions()), (1, vec![("a", 1)]));
    wait_until_served(&server, &fleet.replicas).await;
}

async fn watchers_end_at_the_truth_while_replicas_pause_and_are_killed(_: StoreKind) {
    let fleet = Fleet::of(2);
    let server = fleet
        .stockroom(|config| {
            without_reread(config);
            config.watch.heartbeat_ms = 500;
            config.store.replica_timeout_ms = 250;
        })
        .await;
    let shop = Shop::open(&format!("http://{}", server.addr)).await;
    let pausing = Pausing::begin(&fleet.replicas[0]);
    let kills = async {
        for _ in 0..2 * rounds() {
            shop.writes(WRITES).await;
            tokio::task::block_in_place(|| fleet.replicas[1].stop_at_once());
            shop.writes(WRITES).await;
            tokio::task::block_in_place(|| fleet.replicas[1].start_again());
        }
        shop.writes(WRITES).await;
    };
    let report = audited(&fleet.home, &shop, kills).await;
    pausing.end();
    holds(&report);
    wait_until_served(&server, &fleet.replicas).await;
}

/// A replica that is late every now and then.
struct Pausing {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Pausing {
    fn begin(replica: &Arc<Server>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, replica) = (Arc::clone(&stop), Arc::clone(replica));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                replica.pause_replay();
                std::thread::sleep(Duration::from_millis(100));
                replica.resume_replay();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
