//! Whatever dies, Kafka is told everything that was committed, in order, and orders do
//! not wait for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use stockroom::client::{Client, Retrying};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::told::{Told, orders_of, private_kafka, shared_kafka};
use crate::api::{order, stock};
use crate::chaos;
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::process::Server;

on_each_store! {
    a_broker_that_is_killed_and_comes_back_is_told_everything,
    a_broker_that_freezes_is_told_everything,
    a_shutdown_does_not_wait_for_a_frozen_broker,
}

mod instances {
    on_postgres! {
        a_relay_that_is_killed_between_publishing_and_deleting_loses_nothing,
        another_instance_relays_within_five_seconds_of_a_freeze,
        an_instance_that_cannot_reach_the_broker_lets_another_relay,
    }

    use super::*;

    async fn a_relay_that_is_killed_between_publishing_and_deleting_loses_nothing(
        store: StoreKind,
    ) {
        let Some(kafka) = shared_kafka() else { return };
        let told = Told::on(kafka).await;
        let home = Home::new(store);
        let options = told.options();
        let first = Server::start_with(home.clone(), &options).await;
        let second = Server::start_with(home.clone(), &options).await;
        let client = second.client().await;
        stock(&client, "sku", 1_000).await;
        let drained = "SELECT count(*) FROM outbox";
        eventually("it relays", async || home.sql(drained) == "0").await;
        // Who deletes waits, so all that is acknowledged from here on is still there.
        home.sql(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(60); RETURN OLD; END $$; \
             CREATE TRIGGER wait BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION wait()",
        );
        let before = told.read().await.len();
        let made = client.create_order(order("o", &[("sku", 1)]));
        made.await.unwrap();
        // More than once where the relay itself has waited too long for the delete.
        eventually("it is published", async || {
            told.read().await.len() >= before + 2
        })
        .await;
        // Whichever of the two relays.
        first.kill();
        second.kill();
        let published = told.read().await.len();
        home.sql("DROP TRIGGER wait ON outbox");
        let _third = Server::start_with(home.clone(), &options).await;
        let heard = told.check(&home, &orders_of(&home)).await;
        assert!(heard.len() >= published + 2, "the order is told again");
    }

    async fn an_instance_that_cannot_reach_the_broker_lets_another_relay(store: StoreKind) {
        let Some(kafka) = shared_kafka() else { return };
        let told = Told::on(kafka).await;
        let home = Home::new(store);
        let cut_off = Stockroom::on(home.clone(), |c| {
            told.configure(c);
            c.events.brokers = "127.0.0.1:1".to_owned();
            c.events.ack_timeout_ms = 1_000;
        })
        .await;
        eventually("it leads", async || {
            cut_off.counters.relay.active.get() == 1
        })
        .await;
        let other = Stockroom::on(home.clone(), |c| told.configure(c)).await;
        stock(&cut_off.client, "sku", 1).await;
        let made = cut_off.client.create_order(order("o", &[("sku", 1)]));
        made.await.unwrap();
        told.check(&home, &orders_of(&home)).await;
        assert_eq!(other.counters.relay.active.get(), 1);
    }

    async fn another_instance_relays_within_five_seconds_of_a_freeze(store: StoreKind) {
        const TAKEN_OVER: Duration = Duration::from_secs(5);
        let Some(kafka) = shared_kafka() else { return };
        let told = Told::on(kafka).await;
        let home = Home::new(store);
        let options = told.options();
        let first = Server::start_with(home.clone(), &options).await;
        let leads = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
            WHERE locktype = 'advisory' AND granted AND application_name = 'stockroom relay lock'";
        eventually("the first relays", async || home.sql(leads) == "1").await;
        let second = Stockroom::on(home.clone(), |c| told.configure(c)).await;
        stock(&second.client, "sku", 100).await;
        assert_eq!(second.counters.relay.active.get(), 0);
        first.signal(Signal::SIGSTOP);
        let frozen = Instant::now();
        let made = second.client.create_order(order("o", &[("sku", 1)]));
        made.await.unwrap();
        eventually("the second relays", async || {
            second.counters.relay.active.get() == 1
        })
        .await;
        let taken_over = frozen.elapsed();
        assert!(taken_over < TAKEN_OVER, "{taken_over:?}");
        told.check(&home, &orders_of(&home)).await;
        first.signal(Signal::SIGCONT);
        let made = second.client.create_order(order("p", &[("sku", 1)]));
        made.await.unwrap();
        told.check(&home, &orders_of(&home)).await;
        // At once when the holder ends: its session ends with it.
        drop(second);
        let made = first
            .client()
            .await
            .create_order(order("q", &[("sku", 1)]))
            .await;
        made.unwrap();
        told.check(&home, &orders_of(&home)).await;
    }
}

/// How long the broker is away: long enough for its clients to notice.
const AWAY: Duration = Duration::from_secs(2);

/// Orders that each caller makes whenever it goes on, whatever Kafka does.
const ORDERS_MIN: usize = 10;

/// How long each caller rests after an order: what is told after half an hour is to be read
/// again, and a broker that starts anew needs the cores too.
const PACE: Duration = Duration::from_millis(10);

async fn a_broker_that_is_killed_and_comes_back_is_told_everything(store: StoreKind) {
    let Some(kafka) = private_kafka() else { return };
    let told = Told::on(Arc::clone(&kafka)).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    let buying = Buying::begin(&server.client).await;
    let published = &server.counters.relay.published;
    for _ in 0..chaos::rounds() {
        let before = published.get();
        eventually("it relays", async || published.get() > before).await;
        buying.goes_on().await;
        kafka.kill();
        tokio::join!(buying.goes_on(), sleep(AWAY));
        let kafka = Arc::clone(&kafka);
        let started = tokio::task::spawn_blocking(move || kafka.start_again());
        started.await.unwrap();
    }
    buying.goes_on().await;
    let orders = buying.end().await;
    told.check(&home, &orders).await;
}

async fn a_broker_that_freezes_is_told_everything(store: StoreKind) {
    // Longer than the relay waits: it begins again, more than once. A minute in `make chaos`.
    let frozen = if chaos::rounds() > 1 {
        Duration::from_secs(60)
    } else {
        Duration::from_secs(6)
    };
    let Some(kafka) = private_kafka() else { return };
    let told = Told::on(Arc::clone(&kafka)).await;
    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |config| {
        told.configure(config);
        config.events.ack_timeout_ms = 2_000;
    })
    .await;
    let buying = Buying::begin(&server.client).await;
    let counters = &server.counters.relay;
    eventually("it relays", async || counters.published.get() > 0).await;
    buying.goes_on().await;
    kafka.freeze();
    tokio::join!(buying.goes_on(), sleep(frozen));
    kafka.thaw();
    buying.goes_on().await;
    let orders = buying.end().await;
    told.check(&home, &orders).await;
    assert!(counters.failures.get() > 0, "the relay has never given up");
}

async fn a_shutdown_does_not_wait_for_a_frozen_broker(store: StoreKind) {
    const ENDED: Duration = Duration::from_secs(8);
    let Some(kafka) = private_kafka() else { return };
    let told = Told::on(Arc::clone(&kafka)).await;
    let home = Home::new(store);
    let mut server = Stockroom::on(home.clone(), |config| {
        told.configure(config);
        config.events.drain_timeout_ms = 500;
    })
    .await;
    stock(&server.client, "sku", 100).await;
    told.check(&home, &BTreeSet::new()).await;
    kafka.freeze();
    let made = server.client.create_order(order("o", &[("sku", 1)]));
    let order = made.await.unwrap().order.unwrap().order_id;
    let asked = Instant::now();
    server.end().unwrap();
    assert!(asked.elapsed() < ENDED, "{:?}", asked.elapsed());
    kafka.thaw();
    // Nothing is lost: whoever comes next tells it.
    drop(server);
    let _server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    told.check(&home, &[order].into()).await;
}

/// Callers that order all the time, and do not wait for Kafka.
struct Buying {
    stop: Arc<AtomicBool>,
    callers: Vec<Caller>,
}

/// One of them.
struct Caller {
    /// Orders that it has made.
    made: Arc<AtomicUsize>,
    buying: JoinHandle<BTreeSet<String>>,
}

impl Buying {
    async fn begin(client: &Client) -> Self {
        for sku in ["hot", "a", "b"] {
            stock(client, sku, 1_000_000).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..8).map(|number| {
            let (client, stop) = (client.clone().retrying(), Arc::clone(&stop));
            let made = Arc::new(AtomicUsize::new(0));
            let buying = tokio::spawn(buy(client, number, stop, Arc::clone(&made)));
            Caller { made, buying }
        });
        let callers = callers.collect();
        Self { stop, callers }
    }

    /// Waits until every caller has made orders from now on.
    async fn goes_on(&self) {
        let callers = self.callers.iter();
        let made = callers.map(|caller| caller.made.load(Ordering::Relaxed));
        let before: Vec<usize> = made.collect();
        eventually("every caller makes orders", async || {
            assert!(self.callers.iter().all(|it| !it.buying.is_finished()));
            let mut callers = self.callers.iter().zip(&before);
            callers.all(|(it, before)| it.made.load(Ordering::Relaxed) >= before + ORDERS_MIN)
        })
        .await;
    }

    /// The orders that were made.
    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut orders = BTreeSet::new();
        for caller in self.callers {
            orders.extend(caller.buying.await.unwrap());
        }
        assert!(!orders.is_empty());
        orders
    }
}

async fn buy(
    client: Retrying,
    caller: usize,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
) -> BTreeSet<String> {
    let mut orders = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let request_id = format!("{caller}-{}", orders.len());
        let lines = [("hot", 1), (["a", "b"][orders.len() % 2], 1)];
        let request = order(&request_id, &lines);
        let answer = client.create_order(&request).await.unwrap();
        orders.insert(answer.order.unwrap().order_id);
        made.fetch_add(1, Ordering::Relaxed);
        sleep(PACE).await;
    }
    orders
}
