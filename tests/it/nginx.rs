//! nginx in front of two instances, with the configuration that is deployed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stockroom::client::history::{Fault, Violation};
use stockroom::client::proto::{CreateOrderRequest, StockKey};
use stockroom::client::{Client, ClientError, Code, Watch, WatchEvent, WatchTargets};
use stockroom::config::Config;
use tokio::time::timeout;

use crate::api::{order, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually, not_run};
use crate::process::Server;
use crate::readme::README;
use crate::scrape::Scrape;
use crate::servers::nginx;

on_postgres! {
    calls_of_one_connection_are_shared_by_both_instances,
    an_instance_that_is_killed_costs_retries_and_no_order,
    a_watch_outlives_every_timeout_of_nginx,
    a_request_of_megabytes_passes,
    a_refusal_with_many_violations_passes,
}

const DEPLOYED: &str = include_str!("../../deploy/nginx/nginx.conf");

/// What `deployed` says, with addresses of ours.
fn conf(deployed: &str, listen: SocketAddr, instances: [&str; 2]) -> String {
    let [first, second] = instances;
    let addresses = [
        ("listen 50051 http2;", &*format!("listen {listen} http2;")),
        ("stockroom-1:50051", first),
        ("stockroom-2:50051", second),
    ];
    nginx::replaced(deployed, &addresses)
}

/// The nginx to run, unless there is none, which is said aloud.
fn program() -> Option<PathBuf> {
    let program = nginx::program();
    if program.is_none() {
        not_run("behind nginx: STOCKROOM_TEST_NGINX is not set; `make test` sets it");
    }
    program
}

/// Two instances in this process, and nginx before them.
struct Shop {
    instances: [Stockroom; 2],
    nginx: nginx::Server,
}

impl Shop {
    /// With nginx as it is deployed, but for what `edit` makes of it.
    async fn open(
        store: StoreKind,
        edit: impl Fn(&str) -> String,
        configure: impl Fn(&mut Config),
    ) -> Option<Self> {
        let program = program()?;
        let home = Home::new(store);
        let instances = [
            Stockroom::on(home.clone(), |config| configure(config)).await,
            Stockroom::on(home, |config| configure(config)).await,
        ];
        let addresses = instances.each_ref().map(|it| it.addr.to_string());
        let [first, second] = addresses.each_ref().map(String::as_str);
        let deployed = edit(DEPLOYED);
        let nginx =
            nginx::Server::start(program, |listen| conf(&deployed, listen, [first, second]));
        Some(Self { instances, nginx })
    }

    /// A client with one connection, which ends at nginx.
    async fn client(&self) -> Client {
        through(&self.nginx).await
    }
}

async fn through(nginx: &nginx::Server) -> Client {
    let url = format!("http://{}", nginx.address());
    Client::connect(&url, 1).await.unwrap()
}

async fn calls_of_one_connection_are_shared_by_both_instances(store: StoreKind) {
    const ORDERS: usize = 200;
    let as_deployed = |conf: &str| conf.to_owned();
    let Some(shop) = Shop::open(store, as_deployed, |_| {}).await else {
        return;
    };
    let client = shop.client().await;
    stock(&client, "a", 1_000).await;
    let callers = (0..8).map(|caller| {
        let client = &client;
        async move {
            for i in (caller..ORDERS).step_by(8) {
                let made = order(&format!("o-{i}"), &[("a", 1)]);
                client.create_order(made).await.unwrap();
            }
        }
    });
    join_all(callers).await;
    let mut taken = Vec::new();
    for instance in &shop.instances {
        let scrape = Scrape::of(instance.http).await;
        taken.push(scrape.value("stockroom_orders_total{outcome=\"accepted\",reason=\"\"}"));
    }
    assert_eq!(taken.iter().sum::<f64>(), ORDERS as f64);
    // In turns; a retry of nginx's own would be no turn.
    assert!(
        taken.iter().all(|&it| it >= 0.4 * ORDERS as f64),
        "{taken:?}"
    );
}

/// Places `orders`, of which every second one is not retried at first, and counts them.
/// What fails on the way must be what a client retries, and is then settled.
async fn place(client: &Client, orders: &[CreateOrderRequest], done: &AtomicUsize) {
    let retrying = client.retrying();
    for (i, order) in orders.iter().enumerate() {
        if i % 2 == 0 {
            let once = client.create_order(order.clone()).await;
            let failed = once.err().filter(|error| !ClientError::retryable(error));
            assert!(failed.is_none(), "{failed:?}");
        }
        retrying.create_order(order).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn an_instance_that_is_killed_costs_retries_and_no_order(store: StoreKind) {
    const CALLERS: usize = 16;
    const ORDERS_EACH: usize = 40;
    let Some(program) = program() else { return };
    let home = Home::new(store);
    let killed = Server::start(home.clone()).await;
    let left = Server::start(home.clone()).await;
    let addresses = [&killed, &left].map(|it| it.addr().to_string());
    let [first, second] = addresses.each_ref().map(String::as_str);
    let nginx = nginx::Server::start(program, |listen| conf(DEPLOYED, listen, [first, second]));
    let client = through(&nginx).await;
    stock(&client, "a", 1_000_000).await;
    let done = AtomicUsize::new(0);
    let orders: Vec<Vec<_>> = (0..CALLERS)
        .map(|caller| {
            let ids = (0..ORDERS_EACH).map(|i| format!("o-{caller}-{i}"));
            ids.map(|id| order(&id, &[("a", 1)])).collect()
        })
        .collect();
    let placing = orders.iter().map(|orders| place(&client, orders, &done));
    let killing = async {
        eventually("orders run", async || {
            done.load(Ordering::Relaxed) > CALLERS * ORDERS_EACH / 4
        })
        .await;
        killed.kill();
    };
    tokio::join!(join_all(placing), killing);
    assert_eq!(done.into_inner(), CALLERS * ORDERS_EACH);
    let sold = i64::try_from(CALLERS * ORDERS_EACH).unwrap();
    assert_eq!(home.books().units_sold, sold, "{}", nginx.log());
}

/// What [`shortened`] makes of it: long enough for a machine that stands still for a moment.
const NGINX_TIMEOUT: Duration = Duration::from_secs(5);

/// Every time after which nginx lets go of a client, an instance, or a call.
fn shortened(conf: &str) -> String {
    let names = [
        "client_body_timeout ",
        "send_timeout ",
        "grpc_read_timeout ",
        "grpc_send_timeout ",
        "keepalive_timeout 1h",
    ];
    let shorten = |line: &str| match names.iter().find(|name| line.trim().starts_with(*name)) {
        Some(name) => {
            let name = name.split(' ').next().unwrap();
            format!("{name} {}s;", NGINX_TIMEOUT.as_secs())
        }
        None => line.to_owned(),
    };
    let lines: Vec<_> = conf.lines().map(shorten).collect();
    assert_eq!(conf.lines().zip(&lines).filter(|(a, b)| a != b).count(), 5);
    lines.join("\n")
}

/// The next event, within the deadline.
async fn next(watch: &mut Watch) -> WatchEvent {
    let next = timeout(DEADLINE, watch.next()).await;
    next.expect("something is told").unwrap()
}

async fn a_watch_outlives_every_timeout_of_nginx(store: StoreKind) {
    // A client that has heard nothing for twice as long gives a stream up.
    const HEARTBEAT: Duration = Duration::from_secs(2);
    let heartbeat = |every: Duration| {
        move |config: &mut Config| config.watch.heartbeat_ms = every.as_millis() as u64
    };
    let Some(shop) = Shop::open(store, shortened, heartbeat(HEARTBEAT)).await else {
        return;
    };
    let client = shop.client().await;
    stock(&client, "a", 10).await;
    let mut watch = client.watch(WatchTargets::all()).audited();
    let mut silent = Duration::ZERO;
    while silent < 2 * NGINX_TIMEOUT {
        match next(&mut watch).await {
            WatchEvent::Heartbeat => silent += HEARTBEAT,
            WatchEvent::Interrupted { error, .. } => panic!("{error}:\n{}", shop.nginx.log()),
            _ => {}
        }
    }
    // Whichever instance each of them is made by, and the stream is on.
    for i in 0..4 {
        let made = order(&format!("o-{i}"), &[("a", 1)]);
        client.create_order(made).await.unwrap();
    }
    let level = async {
        loop {
            let level = watch.next_level().await.unwrap();
            if level.version == 5 {
                return level.available;
            }
        }
    };
    assert_eq!(timeout(DEADLINE, level).await.unwrap(), 6);
    let found = watch.audit().unwrap().report();
    // A heartbeat that is late is the machine's affair; one that is missing has ended the watch.
    let is_late = |violation: &&Violation| matches!(violation.fault, Fault::Silent { .. });
    let late = found.examples.iter().filter(is_late).count() as u64;
    assert_eq!((found.streams, found.violations), (1, late), "{found:#?}");
    // And these timeouts are what a stream without heartbeats would end at.
    let silent = Shop::open(store, shortened, heartbeat(10 * NGINX_TIMEOUT)).await;
    let silent = silent.expect("there is nginx");
    let mut watch = silent.client().await.watch(WatchTargets::all());
    while !matches!(next(&mut watch).await, WatchEvent::Interrupted { .. }) {}
}

async fn a_request_of_megabytes_passes(store: StoreKind) {
    let as_deployed = |conf: &str| conf.to_owned();
    let Some(shop) = Shop::open(store, as_deployed, |_| {}).await else {
        return;
    };
    let key = |i| StockKey {
        sku: format!("{i:0>64}"),
        location: "l".repeat(64),
    };
    let targets = WatchTargets::levels((0..10_000).map(key));
    let mut watch = shop.client().await.watch(targets);
    let first = next(&mut watch).await;
    assert!(matches!(first, WatchEvent::Started { .. }), "{first:?}");
}

/// Where it did not, nginx would send nobody to the instances that refused for a while.
async fn a_refusal_with_many_violations_passes(store: StoreKind) {
    // So that each instance refuses some of them.
    const REFUSED: usize = 6;
    let as_deployed = |conf: &str| conf.to_owned();
    let Some(shop) = Shop::open(store, as_deployed, |_| {}).await else {
        return;
    };
    let client = shop.client().await;
    stock(&client, "a", 10).await;
    let bad = order("bad", &vec![("not a SKU", 0); 1_000]);
    for _ in 0..REFUSED {
        let refused = client.create_order(bad.clone()).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "INVALID_REQUEST"),
            "{refused}:\n{}",
            shop.nginx.log()
        );
    }
    let good = client.create_order(order("good", &[("a", 1)])).await;
    good.unwrap();
}

#[test]
fn silence_that_the_configuration_allows_is_shorter_than_nginx_takes_for_death() {
    let line = DEPLOYED.lines().map(str::trim);
    let mut minutes = line.filter_map(|line| {
        let minutes = line
            .strip_prefix("grpc_read_timeout ")?
            .strip_suffix("m;")?;
        minutes.parse::<u64>().ok()
    });
    let timeout = Duration::from_secs(60 * minutes.next().unwrap());
    // watch.heartbeat_ms takes no more, which its table row says.
    let longest = README
        .lines()
        .find(|line| line.starts_with("| `watch.heartbeat_ms` |"))
        .and_then(|line| line.split(" to ").nth(1)?.split(' ').next()?.parse().ok());
    assert!(Duration::from_millis(longest.unwrap()) < timeout);
}
