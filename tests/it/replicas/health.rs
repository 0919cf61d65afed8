//! Which replicas are asked: those that answer, are this store's, and are not late.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stockroom::client::proto::ServedFrom;
use tonic::Code;

use super::fleet::{Fleet, get, list_stale, read, scraped, wait_until};
use crate::api::{Refusal, order, refusal, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually};
use crate::proxy::{Action, Line, Place, Proxy, behind_proxy};

on_postgres! {
    a_replica_that_lags_is_left_out_and_taken_back_when_it_has_caught_up,
    a_replica_that_is_killed_is_left_out_and_taken_back,
    reads_go_to_the_replica_with_the_least_work_under_way,
    a_replica_that_falls_silent_costs_a_read_its_timeout_and_later_reads_nothing,
    what_is_no_replica_of_this_store_is_never_asked,
    reads_of_any_source_go_on_while_the_primary_is_away,
}

async fn a_replica_that_lags_is_left_out_and_taken_back_when_it_has_caught_up(_: StoreKind) {
    const LAG_MAX_MS: u64 = 1_000;
    let fleet = Fleet::of(2);
    let server = fleet
        .stockroom(|config| config.store.replica_lag_max_ms = LAG_MAX_MS)
        .await;
    let [late, other] = [&fleet.replicas[0], &fleet.replicas[1]];
    stock(&server.client, "a", 100).await;
    fleet.catch_up();
    // An idle primary makes nobody late, also when it idles for longer than they may be late.
    tokio::time::sleep(Duration::from_millis(LAG_MAX_MS * 3 / 2)).await;
    // A busy machine is late by as much now and then, and no longer; an idle one would stay so.
    wait_until(&server, late, true).await;
    let left_out = async || scraped(&server, "stockroom_replica_left_out_total", late).await;
    let before = left_out().await;
    late.pause_replay();
    let request = order("o", &[("a", 1)]);
    server.client.create_order(request).await.unwrap();
    wait_until(&server, late, false).await;
    assert!(scraped(&server, "stockroom_replica_lag_seconds", late).await > 1.0);
    assert!(left_out().await > before);
    fleet.primary.wait_until_shown_by(other);
    // Only the late one still has version 1.
    for _ in 0..20 {
        assert_eq!(read(&get(&server.client, "a", Some(0)).await).0, 2);
    }
    eventually("the other one is asked", async || {
        let answer = get(&server.client, "a", Some(0)).await;
        assert_eq!(answer.level.as_ref().unwrap().version, 2);
        answer.served_from() == ServedFrom::Replica
    })
    .await;
    late.resume_replay();
    let metrics = server.counters.replica(&late.name());
    let before = metrics.served.get();
    eventually("it is asked again", async || {
        get(&server.client, "a", Some(2)).await;
        metrics.served.get() > before
    })
    .await;
    eventually("it is late no more", async || {
        scraped(&server, "stockroom_replica_lag_seconds", late).await < 1.0
    })
    .await;
}

async fn a_replica_that_is_killed_is_left_out_and_taken_back(_: StoreKind) {
    const READS: u64 = 20;
    let fleet = Fleet::of(2);
    let server = fleet.stockroom(|_| {}).await;
    stock(&server.client, "a", 100).await;
    fleet.catch_up();
    let killed = &fleet.replicas[0];
    for _ in 0..READS {
        get(&server.client, "a", Some(1)).await;
    }
    killed.stop_at_once();
    // Not one read fails, those among them that meet a connection which is gone.
    for _ in 0..READS {
        assert_eq!(read(&get(&server.client, "a", Some(1)).await).0, 1);
    }
    wait_until(&server, killed, false).await;
    let request = order("meanwhile", &[("a", 1)]);
    server.client.create_order(request).await.unwrap();
    killed.start_again();
    wait_until(&server, killed, true).await;
    fleet.catch_up();
    let metrics = server.counters.replica(&killed.name());
    eventually("it serves more reads than there were before", async || {
        for _ in 0..READS {
            let answer = get(&server.client, "a", Some(2)).await;
            assert_eq!(read(&answer), (2, ServedFrom::Replica));
        }
        metrics.served.get() > 2 * READS
    })
    .await;
}

async fn reads_go_to_the_replica_with_the_least_work_under_way(_: StoreKind) {
    const READERS: usize = 8;
    const READS: usize = 50;
    let fleet = Fleet::of(2);
    let [slow, quick] = [&fleet.replicas[0], &fleet.replicas[1]];
    let proxy = Proxy::before(slow.name().parse().unwrap()).await;
    let server = fleet
        .not_ready(|config| {
            let through = fleet.urls()[0].replace(&slow.name(), &proxy.addr.to_string());
            config.store.replicas[0] = through;
        })
        .await;
    stock(&server.client, "a", 1).await;
    fleet.catch_up();
    let slow = server.counters.replica(&proxy.addr.to_string());
    let quick = server.counters.replica(&quick.name());
    eventually("both serve", async || {
        slow.serves.get() + quick.serves.get() == 2
    })
    .await;
    proxy.set(Line::delayed(Duration::from_millis(50)));
    let reading = (0..READERS).map(|_| async {
        for _ in 0..READS {
            let answer = get(&server.client, "a", Some(1)).await;
            assert_eq!(answer.served_from(), ServedFrom::Replica);
        }
    });
    join_all(reading).await;
    let all = (READERS * READS) as u64;
    eventually("all are counted", async || {
        slow.served.get() + quick.served.get() == all
    })
    .await;
    assert!(slow.served.get() > 0, "the slow one had no turn");
    // With turns alone each would have half.
    let share = slow.served.get() as f64 / all as f64;
    assert!(share < 0.4, "the slow one served {share:.2} of the reads");
}

async fn a_replica_that_falls_silent_costs_a_read_its_timeout_and_later_reads_nothing(
    _: StoreKind,
) {
    /// What a busy machine may add to a read.
    const BUSY: Duration = Duration::from_secs(2);
    let fleet = Fleet::of(1);
    let (server, proxy, metrics) = fleet
        .behind_proxy(|config| {
            config.store.replica_timeout_ms = 500;
            // The reads are to find out before the check does.
            config.store.replica_check_interval_ms = 2_000;
        })
        .await;
    stock(&server.client, "a", 10).await;
    fleet.catch_up();
    assert_eq!(
        get(&server.client, "a", Some(1)).await.served_from(),
        ServedFrom::Replica
    );
    proxy.set(Line::Silent);
    let began = Instant::now();
    let all = join_all((0..16).map(|_| get(&server.client, "a", Some(1)))).await;
    assert!(
        began.elapsed() < Duration::from_millis(500) + BUSY,
        "{:?}",
        began.elapsed()
    );
    assert!(
        all.iter()
            .all(|answer| answer.served_from() == ServedFrom::Primary)
    );
    let began = Instant::now();
    for _ in 0..20 {
        let answer = get(&server.client, "a", Some(1)).await;
        assert_eq!(answer.served_from(), ServedFrom::Primary);
    }
    assert!(began.elapsed() < BUSY, "{:?}", began.elapsed());
    assert_eq!(
        list_stale(&server.client, "").await.served_from(),
        ServedFrom::Primary
    );
    eventually("it is left out", async || metrics.serves.get() == 0).await;
    // What was connected stays silent for ever; what connects now is heard.
    proxy.set(Line::Up);
    eventually("it is taken back", async || metrics.serves.get() == 1).await;
    let deadline = Instant::now() + DEADLINE;
    while get(&server.client, "a", Some(1)).await.served_from() != ServedFrom::Replica {
        assert!(Instant::now() < deadline, "it is not asked");
    }
}

async fn what_is_no_replica_of_this_store_is_never_asked(_: StoreKind) {
    /// Requests by which a good one would have been found: a round of checks makes two at most.
    const CHECKS: usize = 10;
    let fleet = Fleet::of(1);
    // Another store on the same servers, and the primary itself.
    let other = Stockroom::on(Home::on(&fleet.primary), |_| {}).await;
    stock(&other.client, "a", 1_000).await;
    fleet.catch_up();
    let replica = &fleet.replicas[0];
    let mistaken = [
        (other.home.url_on(replica), replica.name()),
        (fleet.home.url(), fleet.primary.name()),
    ];
    for (url, name) in mistaken {
        let proxy = Proxy::before(name.parse().unwrap()).await;
        let url = url.replace(&name, &proxy.addr.to_string());
        let server = Stockroom::on(fleet.home.clone(), |config| {
            config.store.replicas = vec![url];
            config.store.replica_check_interval_ms = 50;
        })
        .await;
        let first = fleet.home.sql("SELECT count(*) FROM product") == "0";
        if first {
            stock(&server.client, "a", 10).await;
        }
        let mut checked = proxy.arm(CHECKS, Place::Before, Action::Delay(Duration::ZERO));
        checked.struck().await;
        let answer = get(&server.client, "a", Some(0)).await;
        assert_eq!(answer.served_from(), ServedFrom::Primary);
        assert_eq!(answer.level.unwrap().on_hand, 10);
    }
}

async fn reads_of_any_source_go_on_while_the_primary_is_away(_: StoreKind) {
    let fleet = Fleet::of(1);
    let urls = fleet.urls();
    let (server, proxy) = behind_proxy(fleet.home.clone(), |config| {
        config.store.replicas = urls;
        config.store.replica_check_interval_ms = 50;
        config.store.replica_lag_max_ms = 500;
        config.store.replica_timeout_ms = 2_000;
    })
    .await;
    wait_until(&server, &fleet.replicas[0], true).await;
    stock(&server.client, "a", 10).await;
    fleet.catch_up();
    proxy.set(Line::Down);
    // For longer than a replica may be behind: nothing is committed meanwhile.
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        let answer = get(&server.client, "a", Some(1)).await;
        assert_eq!(read(&answer), (1, ServedFrom::Replica));
        assert_eq!(list_stale(&server.client, "").await.levels.len(), 1);
    }
    let strict = stockroom::client::proto::GetStockRequest {
        sku: "a".to_owned(),
        ..Default::default()
    };
    let refused: Refusal = refusal(server.inventory().get_stock(strict).await);
    refused.is(Code::Unavailable, "STORE_UNAVAILABLE");
    proxy.set(Line::Up);
}
