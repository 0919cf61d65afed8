//! Histories of many watchers, whatever happens, checked against the ledger: of
//! every selector, of both deliveries, under orders, restocks and changed
//! thresholds, with streams that are dropped at random and servers that are
//! killed. The ledger is read from the database past the servers.

mod planted;
mod shop;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use stockroom::client::WatchTargets;
use stockroom::client::history::{Ledger, Report};
use stockroom::client::proto::StockKey;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use self::shop::Shop;
use self::shop::{LOCATIONS, SKUS};
use crate::chaos::{chance, rounds};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind};
use crate::process::Server;
use crate::recorder::{History, Recorder, ledger};
use crate::servers::postgres::Server as DatabaseServer;

on_each_store! {
    histories_hold_through_kills_of_the_server,
}

mod shared {
    use super::{
        histories_hold_on_two_instances_of_which_one_is_killed,
        histories_hold_through_a_restart_of_the_database,
    };

    on_postgres! {
        histories_hold_on_two_instances_of_which_one_is_killed,
        histories_hold_through_a_restart_of_the_database,
    }
}

const WATCHERS: usize = 50;

/// In each round.
const KILLS: usize = 3;

/// Orders and restocks between two blows.
pub(crate) const WRITES: usize = 150;

/// A stream is dropped after at most so many messages, so that each watcher has many.
const MESSAGES_MAX: usize = 60;

/// A server that has just been killed, or has no database, is left alone for so long.
const BACKOFF: Duration = Duration::from_millis(50);

/// Every way to select, alone and together.
fn targets(n: usize) -> WatchTargets {
    let key = |sku: &str, location: &str| StockKey {
        sku: sku.to_owned(),
        location: location.to_owned(),
    };
    let some = WatchTargets::levels([
        key(SKUS[n % SKUS.len()], ""),
        key(SKUS[(n + 1) % SKUS.len()], LOCATIONS[1]),
        key("unknown", ""),
    ]);
    match n % 8 {
        0 => some,
        1 => some.every_change(),
        2 => WatchTargets::levels([key("8-d", "york"), key("h", "")]).every_change(),
        3 => WatchTargets::sku_prefix("8"),
        4 => WatchTargets::location(LOCATIONS[1]),
        5 => WatchTargets::low_only(),
        6 => some
            .and(WatchTargets::low_only())
            .and(WatchTargets::sku_prefix("85-")),
        _ => WatchTargets::all(),
    }
}

async fn histories_hold_through_kills_of_the_server(store: StoreKind) {
    let home = Home::new(store);
    let first = serve(&home).await;
    let shop = Shop::open(&first.url).await;
    let mut server = Some(first);
    let kills = async {
        for _ in 0..KILLS * rounds() {
            shop.writes(WRITES).await;
            shop.servers(&[]);
            if let Some(running) = server.take() {
                running.kill();
            }
            let again = serve(&home).await;
            shop.servers(&[&again.url]);
            server = Some(again);
        }
        shop.writes(WRITES).await;
    };
    let report = audited(&home, &shop, kills).await;
    holds(&report);
    assert!(report.streams > 2 * WATCHERS as u64, "{report:#?}");
}

async fn histories_hold_on_two_instances_of_which_one_is_killed(store: StoreKind) {
    let home = Home::new(store);
    let mut servers = [serve(&home).await, serve(&home).await].map(Some);
    let shop = Shop::open(&servers[0].as_ref().unwrap().url).await;
    let kills = async {
        for kill in 0..KILLS * rounds() {
            let url = |server: &Option<Server>| server.as_ref().unwrap().url.clone();
            shop.servers(&[&url(&servers[0]), &url(&servers[1])]);
            shop.writes(WRITES).await;
            shop.servers(&[&url(&servers[1 - kill % 2])]);
            servers[kill % 2].take().unwrap().kill();
            shop.writes(WRITES).await;
            servers[kill % 2] = Some(serve(&home).await);
        }
        shop.writes(WRITES).await;
    };
    holds(&audited(&home, &shop, kills).await);
}

async fn histories_hold_through_a_restart_of_the_database(_: StoreKind) {
    let database = DatabaseServer::start();
    let home = Home::on(&database);
    let server = Stockroom::on(home.clone(), |config| {
        config.watch.heartbeat_ms = HEARTBEAT_MS;
    })
    .await;
    let shop = Shop::open(&format!("http://{}", server.addr)).await;
    let restarts = async {
        for _ in 0..rounds() {
            shop.writes(WRITES).await;
            tokio::task::block_in_place(|| {
                database.stop_at_once();
                database.start_again();
            });
            shop.writes(WRITES).await;
        }
    };
    let report = audited(&home, &shop, restarts).await;
    holds(&report);
    drop(server);
}

/// Short, so that silence shows.
const HEARTBEAT_MS: u64 = 500;

async fn serve(home: &Arc<Home>) -> Server {
    let heartbeat = format!("watch.heartbeat_ms={HEARTBEAT_MS}");
    Server::start_with(home.clone(), &["--set", &heartbeat]).await
}

#[track_caller]
pub(crate) fn holds(report: &Report) {
    assert_eq!(report.violations, 0, "{report:#?}");
    assert_eq!(report.resets, 0, "nothing was ever lost: {report:#?}");
    assert_eq!(report.watchers, WATCHERS as u64);
    assert!(
        report.levels > 0 && report.streams > report.watchers,
        "{report:#?}"
    );
}

/// Watches and sells while `disturbance` goes on, and then until every watcher
/// has the last value of all that it watches.
pub(crate) async fn audited(
    home: &Home,
    shop: &Shop,
    disturbance: impl Future<Output = ()>,
) -> Report {
    let mut chance = chance();
    let (told, learn) = watch::channel(None);
    let mut watchers = JoinSet::new();
    for n in 0..WATCHERS {
        let chance = SmallRng::seed_from_u64(chance.random());
        watchers.spawn(record(shop.clone(), targets(n), chance, learn.clone()));
    }
    let sellers = shop.sell();
    disturbance.await;
    shop.close();
    sellers.join_all().await;
    let truth = Arc::new(ledger(home).await);
    told.send_replace(Some(Arc::clone(&truth)));
    let mut report = Report::default();
    for history in watchers.join_all().await {
        report.add(history.audit(&truth));
    }
    report
}

/// Waits until then; for ever if it is not known yet.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Records a watcher that drops its streams at random and goes on at any server,
/// until it is told the truth and has it, or has had its time.
async fn record(
    shop: Shop,
    targets: WatchTargets,
    mut chance: SmallRng,
    mut learn: watch::Receiver<Option<Arc<Ledger>>>,
) -> History {
    let mut recorder = Recorder::new(targets);
    let mut left = 0;
    let mut truth: Option<(Arc<Ledger>, Instant)> = None;
    loop {
        if let Some((truth, deadline)) = &truth
            && (recorder.caught_up(truth) || Instant::now() > *deadline)
        {
            return recorder.into_history();
        }
        if left == 0 {
            recorder.let_go();
            left = chance.random_range(1..=MESSAGES_MAX);
        }
        if !recorder.is_open() {
            let url = shop.a_server(&mut chance).await;
            if !recorder.open(&url).await {
                tokio::time::sleep(BACKOFF).await;
            }
            continue;
        }
        tokio::select! {
            () = recorder.read() => {
                left -= 1;
                if !recorder.is_open() {
                    tokio::time::sleep(BACKOFF).await;
                }
            }
            told = learn.changed(), if truth.is_none() => {
                told.expect("the truth is told before the test ends");
                truth = learn.borrow().clone().map(|truth| (truth, Instant::now() + DEADLINE));
                // From now on it stays where it is, unless the server says otherwise.
                left = usize::MAX;
            }
            // The audit says what has not come.
            () = until(truth.as_ref().map(|(_, deadline)| *deadline)) => {}
        }
    }
}
