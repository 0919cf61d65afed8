//! A standby takes the primary's place, and lacks its last commits.

use std::sync::Arc;
use std::time::Duration;

use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{GetOrderRequest, GoodbyeReason, StockLevel};
use stockroom::client::{Client, Watch, WatchEvent, WatchTargets};
use tonic::Code;

use super::fleet::Fleet;
use crate::api::{level, order, refusal, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually};
use crate::process::{Server, run, stdout};
use crate::proxy::Proxy;
use crate::watching::{Watcher, everything, watch_of};

on_postgres! {
    after_a_promotion_that_lost_commits_watchers_and_books_are_those_of_the_new_primary,
    an_instance_never_sells_on_what_it_remembers_of_another_primary,
    a_standby_is_refused_until_its_promotion_which_is_noticed,
    a_new_store_id_makes_watchers_forget_what_they_saw,
}

/// Units that there are at first.
const UNITS: i64 = 1_000;
/// Orders of one unit that the standby hears of, and those that it does not.
const KEPT: i64 = 20;
const LOST: i64 = 10;

/// Beyond this a connection is not trusted unasked.
const IDLE: Duration = Duration::from_millis(1_500);

/// Instances whose address of the database leads to the primary, and to its standby
/// once that is promoted.
struct Shop {
    fleet: Fleet,
    proxy: Proxy,
    /// The database as the standby will have it.
    promoted: Arc<Home>,
}

impl Shop {
    async fn open() -> Self {
        let fleet = Fleet::of(1);
        let proxy = Proxy::before_database_of(&fleet.home).await;
        let promoted = fleet.home.on_promoted(&fleet.replicas[0]);
        Self {
            fleet,
            proxy,
            promoted,
        }
    }

    /// An instance. Its books are checked in the end where the standby has them.
    async fn instance(&self) -> Stockroom {
        let url = self.proxy.url(&self.fleet.home);
        Stockroom::on(Arc::clone(&self.promoted), |config| {
            config.store.url = url;
            config.store.acquire_timeout_ms = 500;
            config.store.statement_timeout_ms = 1_000;
        })
        .await
    }

    /// An instance that is a process, for its log; as [`Shop::instance`], and before it.
    async fn process(&mut self) -> Server {
        let url = self.proxy.url(&self.fleet.home);
        match Arc::get_mut(&mut self.promoted) {
            Some(Home::Postgres(database)) => database.url = url,
            _ => panic!("nobody else has it yet"),
        }
        Server::start(Arc::clone(&self.promoted)).await
    }

    /// Sells what the standby hears of and then what it does not.
    async fn sell(&self, client: &Client) {
        stock(client, "a", UNITS).await;
        for i in 0..KEPT {
            make(client, &format!("kept-{i}")).await;
        }
        self.fleet.catch_up();
        self.fleet.replicas[0].stop_hearing();
        for i in 0..LOST {
            make(client, &format!("lost-{i}")).await;
        }
    }

    /// The primary is gone; its standby takes its place, with another store_id if so asked.
    fn fail_over(&self, renew_store_id: bool) {
        self.fleet.primary.stop_at_once();
        self.fleet.replicas[0].promote();
        if renew_store_id {
            migrate_to_new_store_id(&self.promoted);
        }
    }

    /// Leads the instances to the new primary.
    fn move_address(&self) {
        self.proxy
            .lead_to(self.fleet.replicas[0].name().parse().unwrap());
        self.proxy.cut();
    }
}

fn migrate_to_new_store_id(home: &Home) {
    let folder = tempfile::tempdir().unwrap();
    let before = home.sql("SELECT store_id FROM store");
    let migrate = ["migrate", "--new-store-id", "--store-url", &home.url()];
    let said = stdout(&run(folder.path(), &migrate));
    let after = home.sql("SELECT store_id FROM store");
    assert_ne!(before, after);
    assert!(said.contains(&before) && said.contains(&after), "{said}");
}

/// Reads a watch of one level until it has come to a version, and returns that and the
/// store of the last stream that began. What comes does so with `reset`, or does not.
async fn until(watch: &mut Watch, version: i64, resets: bool) -> (String, StockLevel) {
    let reading = async {
        let mut store = String::new();
        loop {
            match watch.next().await.unwrap() {
                WatchEvent::Started { store_id } => store = store_id,
                WatchEvent::Changes { mut levels, reset } => {
                    assert_eq!(reset, resets, "{levels:?}");
                    let last = levels.pop().unwrap();
                    if last.version >= version {
                        return (store, last);
                    }
                }
                _ => {}
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    read.expect("the watch comes there by itself")
}

async fn make(client: &Client, request_id: &str) {
    let made = client.create_order(order(request_id, &[("a", 1)]));
    assert!(!made.await.unwrap().replayed);
}

async fn after_a_promotion_that_lost_commits_watchers_and_books_are_those_of_the_new_primary(
    _: StoreKind,
) {
    let shop = Shop::open().await;
    let server = shop.instance().await;
    let mut watch = server
        .another_client()
        .await
        .watch(WatchTargets::all())
        .audited();
    let mut raw = Watcher::synced(&server, watch_of(vec![everything()])).await;
    shop.sell(&server.client).await;
    raw.until("a", 1 + KEPT + LOST).await;
    let (old_store, seen) = until(&mut watch, 1 + KEPT + LOST, false).await;
    assert_eq!(seen.on_hand, UNITS - KEPT - LOST);
    shop.fail_over(true);
    shop.move_address();
    // Whoever held a stream is told why it ends.
    let (reason, status) = raw.until_goodbye().await;
    assert_eq!(reason, GoodbyeReason::StoreChanged);
    assert_eq!(status.code(), Code::Unavailable);
    // The client forgets by itself, and goes on.
    let (new_store, forgotten) = until(&mut watch, 1 + KEPT, true).await;
    assert_ne!(old_store, new_store);
    // Each was told in its own time: the second one only now for certain.
    assert_eq!(server.counters.watches.goodbyes.store_changed.get(), 2);
    assert_eq!(
        (forgotten.version, forgotten.on_hand),
        (1 + KEPT, UNITS - KEPT)
    );
    // What was answered and is lost is not there; what was kept is there once.
    let retrying = server.client.retrying();
    let lost = GetOrderRequest {
        key: Some(Key::RequestId("lost-0".to_owned())),
        ..GetOrderRequest::default()
    };
    let refused = refusal(server.orders().get_order(lost).await);
    refused.is(Code::NotFound, "ORDER_NOT_FOUND");
    for (kind, count, replayed) in [("kept", KEPT, true), ("lost", LOST, false)] {
        for i in 0..count {
            let again = order(&format!("{kind}-{i}"), &[("a", 1)]);
            let again = retrying.create_order(&again).await.unwrap();
            assert_eq!(again.replayed, replayed, "{kind}-{i}");
        }
    }
    let truth = level(&server.client, "a").await;
    assert_eq!(
        (truth.version, truth.on_hand),
        (1 + KEPT + LOST, UNITS - KEPT - LOST)
    );
    let (_, last) = until(&mut watch, truth.version, false).await;
    assert_eq!(last, truth);
    assert_eq!(shop.promoted.books().orders, KEPT + LOST);
}

/// The worst case: on the new primary a level has come to the very version that an idle
/// instance remembers of the old one, and stands for something else. With a new store_id
/// and, by mistake, without.
async fn an_instance_never_sells_on_what_it_remembers_of_another_primary(_: StoreKind) {
    for renew_store_id in [true, false] {
        let shop = Shop::open().await;
        let idle = shop.instance().await;
        shop.sell(&idle.client).await;
        shop.fail_over(renew_store_id);
        // Somebody is quicker there, and takes more.
        let quick = Stockroom::on(Arc::clone(&shop.promoted), |_| {}).await;
        for i in 0..LOST {
            let two = order(&format!("quick-{i}"), &[("a", 2)]);
            quick.client.create_order(two).await.unwrap();
        }
        let truth = level(&quick.client, "a").await;
        assert_eq!(truth.version, 1 + KEPT + LOST);
        // Long enough for its connections to be tested, and made anew, before they are used:
        // no commit of its fails and makes it forget.
        tokio::time::sleep(IDLE).await;
        shop.move_address();
        let retrying = idle.client.retrying();
        retrying
            .create_order(&order("next", &[("a", 1)]))
            .await
            .unwrap();
        let left = level(&quick.client, "a").await;
        assert_eq!(
            (left.version, left.on_hand),
            (truth.version + 1, truth.on_hand - 1)
        );
        shop.promoted.check_books();
    }
}

/// The address has moved before the promotion. A connection from that time would tell
/// nothing of it.
async fn a_standby_is_refused_until_its_promotion_which_is_noticed(_: StoreKind) {
    let mut shop = Shop::open().await;
    let server = shop.process().await;
    let client = server.client().await;
    let mut watch = client.watch(WatchTargets::all()).audited();
    shop.sell(&client).await;
    let (_, seen) = until(&mut watch, 1 + KEPT + LOST, false).await;
    assert_eq!(seen.on_hand, UNITS - KEPT - LOST);
    shop.fleet.primary.stop_at_once();
    shop.move_address();
    eventually("it says what it has come to", async || {
        server.log().contains("the database is a standby")
    })
    .await;
    eventually("it is not ready", async || {
        !server.run(&["health"]).status.success()
    })
    .await;
    shop.fleet.replicas[0].promote();
    let (_, forgotten) = until(&mut watch, 1 + KEPT, true).await;
    assert_eq!(
        (forgotten.version, forgotten.on_hand),
        (1 + KEPT, UNITS - KEPT)
    );
    eventually("it says that it began anew", async || {
        server.log().contains("beginning anew on another database")
    })
    .await;
    eventually("it is ready", async || {
        server.run(&["health"]).status.success()
    })
    .await;
}

async fn a_new_store_id_makes_watchers_forget_what_they_saw(store: StoreKind) {
    let home = Home::new(store);
    let server = Stockroom::on(Arc::clone(&home), |_| {}).await;
    stock(&server.client, "a", 10).await;
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    migrate_to_new_store_id(&home);
    // Within a second or two: it is read each second.
    let noticed = tokio::time::timeout(Duration::from_secs(10), watcher.until_goodbye()).await;
    let (reason, _) = noticed.expect("it is noticed");
    assert_eq!(reason, GoodbyeReason::StoreChanged);
    let mut request = watch_of(vec![everything()]);
    request.store_id.clone_from(&watcher.started.store_id);
    request.seen = watcher.seen();
    // The instance begins anew; whoever comes meanwhile waits or comes again.
    let retrying = server.client.retrying();
    retrying
        .create_order(&order("o", &[("a", 1)]))
        .await
        .unwrap();
    let resumed = Watcher::synced(&server, request).await;
    assert_ne!(resumed.started.store_id, watcher.started.store_id);
    assert_eq!((resumed.resets, resumed.versions()), (1, vec![("a", 2)]));
}
