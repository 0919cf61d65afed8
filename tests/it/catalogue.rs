//! The whole catalogue: every RPC gives every error that the protos say it can give.
//!
//! The comments of the protos are the table. An RPC that is added, or a reason that is
//! written into its comment, fails these tests until it is provoked here or named as
//! shown elsewhere.

mod provoke;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::source_code_info::Location;
use stockroom::client::proto::{FILE_DESCRIPTOR_SET, PutProductsRequest};
use stockroom::config::MigrateAtStart;
use stockroom::storage::{Access, Store};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use self::provoke::{Calls, provoke};
use crate::api::{Refusal, order, product};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holding::Hold;
use crate::proxy::{Line, Proxy};
use crate::scrape::get;

on_each_store! {
    every_rpc_gives_the_errors_of_its_comment,
    every_rpc_says_so_when_there_is_no_store,
    every_rpc_says_so_when_the_server_drains,
}

/// Every reason, with the code that goes with it.
const REASONS: [(&str, Code); 16] = [
    ("INVALID_REQUEST", Code::InvalidArgument),
    ("REQUEST_ID_REUSED", Code::InvalidArgument),
    ("SKU_NOT_FOUND", Code::NotFound),
    ("ORDER_NOT_FOUND", Code::NotFound),
    ("ORDER_STATE", Code::FailedPrecondition),
    ("INSUFFICIENT_STOCK", Code::FailedPrecondition),
    ("STOCK_REMAINS", Code::FailedPrecondition),
    ("BACKORDERS_REMAIN", Code::FailedPrecondition),
    ("VERSION_NOT_REACHED", Code::FailedPrecondition),
    ("VERSION_MISMATCH", Code::Aborted),
    ("STOCK_CONTENTION", Code::ResourceExhausted),
    ("OVERLOADED", Code::ResourceExhausted),
    ("TOO_MANY_WATCHES", Code::ResourceExhausted),
    ("STORE_UNAVAILABLE", Code::Unavailable),
    ("DRAINING", Code::Unavailable),
    ("INTERNAL", Code::Internal),
];

/// What a call meets because of the state that the server is in. Of each there is a test of
/// every RPC whose comment names it.
const OF_THE_SERVER: [&str; 4] = [
    "STOCK_CONTENTION",
    "OVERLOADED",
    "STORE_UNAVAILABLE",
    "DRAINING",
];

/// What takes more than a call, and the tests that have it.
const ELSEWHERE: [(&str, &str, &str); 1] = [(
    "WatchStock",
    "TOO_MANY_WATCHES",
    "each_bound_of_watches_is_refused_at_the_start_with_its_quota",
)];

/// Each RPC and the reasons that it gives, by the comments of its service and its own.
fn documented() -> Vec<(String, Vec<&'static str>)> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut rpcs = Vec::new();
    for file in &set.file {
        // What is imported from others comes without.
        let Some(info) = &file.source_code_info else {
            continue;
        };
        let locations = &info.location;
        let comment = |path: &[i32]| {
            let at = locations.iter().find(|at| at.path == path);
            at.map(Location::leading_comments).unwrap_or_default()
        };
        for (i, service) in (0..).zip(&file.service) {
            for (j, method) in (0..).zip(&service.method) {
                let said = [comment(&[6, i]), comment(&[6, i, 2, j])].concat();
                let words: BTreeSet<&str> = said
                    .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
                    .collect();
                let reasons = REASONS.iter().map(|(reason, _)| *reason);
                // Any call can; what it means is told once, at the service. As a reason
                // it has no code of its own beside it.
                let reasons = reasons.filter(|r| words.contains(r) && *r != "INTERNAL");
                rpcs.push((method.name().to_owned(), reasons.collect()));
            }
        }
    }
    rpcs
}

#[track_caller]
fn is(status: &tonic::Status, reason: &str) {
    let (_, code) = REASONS.iter().find(|(name, _)| *name == reason).unwrap();
    Refusal::of(status).is(*code, reason);
}

async fn every_rpc_gives_the_errors_of_its_comment(store: StoreKind) {
    let server = Stockroom::start(store).await;
    provoke::prepare(&server).await;
    let mut shown = 0;
    for (rpc, reasons) in documented() {
        assert!(reasons.len() >= 3, "{rpc} documents {reasons:?} alone");
        for reason in reasons {
            let is_elsewhere = ELSEWHERE.iter().any(|it| (it.0, it.1) == (&*rpc, reason));
            if is_elsewhere || OF_THE_SERVER.contains(&reason) {
                continue;
            }
            let status = provoke(&Calls::of(&server.channel), &rpc, reason).await;
            is(&status, reason);
            shown += 1;
        }
    }
    assert!(shown >= 25, "{shown}");
}

#[test]
fn what_is_shown_elsewhere_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut text = String::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    let documented = documented();
    for (rpc, reason, test) in ELSEWHERE {
        assert!(text.contains(&format!("fn {test}(")), "{reason}: {test}");
        assert!(
            of(&documented, reason).any(|it| it == rpc),
            "{rpc}: {reason}"
        );
    }
    // Nobody says of an RPC what the catalogue does not know.
    let of_all: BTreeSet<_> = documented.iter().flat_map(|(_, all)| all).collect();
    assert_eq!(of_all.len(), REASONS.len() - 1, "{of_all:?}");
}

/// The RPCs that give a reason.
fn of<'a>(
    documented: &'a [(String, Vec<&'static str>)],
    reason: &str,
) -> impl Iterator<Item = &'a str> {
    let those = documented
        .iter()
        .filter(move |(_, all)| all.contains(&reason));
    those.map(|(rpc, _)| rpc.as_str())
}

mod of_a_busy_store {
    use super::*;

    on_postgres! {
        every_rpc_that_writes_says_so_when_others_are_always_faster,
        every_rpc_that_writes_says_so_when_the_queue_is_full,
    }

    /// RPCs that write, at least.
    const WRITES_MIN: usize = 10;

    /// Changes of products that may wait, beside the queue.
    const PRODUCTS_WAITING_MAX: usize = 32;

    async fn every_rpc_that_writes_says_so_when_others_are_always_faster(store: StoreKind) {
        let server = Stockroom::with(store, |config| {
            config.engine.retry_attempts_max = 2;
            config.engine.retry_backoff_max_ms = 10;
        })
        .await;
        provoke::prepare(&server).await;
        // Whoever expects a version finds another, as when somebody else has been faster.
        server.home.sql(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER lose BEFORE UPDATE ON stock_level FOR EACH ROW EXECUTE FUNCTION lose();
             CREATE TRIGGER lose BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION lose();",
        );
        let (calls, documented) = (Calls::of(&server.channel), documented());
        let mut shown = 0;
        for rpc in of(&documented, "STOCK_CONTENTION") {
            let status = provoke(&calls, rpc, "STOCK_CONTENTION").await;
            is(&status, "STOCK_CONTENTION");
            shown += 1;
        }
        assert!(shown >= WRITES_MIN, "{shown}");
    }

    async fn every_rpc_that_writes_says_so_when_the_queue_is_full(store: StoreKind) {
        let roomy = Stockroom::start(store).await;
        provoke::prepare(&roomy).await;
        let server = Stockroom::on(roomy.home.clone(), |config| {
            config.engine.queue_orders_max = 1;
            // What waits here is given up by nobody.
            config.server.request_timeout_ms = 60_000;
            config.store.statement_timeout_ms = 60_000;
        })
        .await;
        let hold = Hold::on(&server.home).await;
        let (mut orders, first) = (server.orders(), order("first", &[("a", 1)]));
        let first = tokio::spawn(async move { orders.create_order(first).await });
        hold.has_waiter().await;
        // As many as may wait, and one that is refused, whichever that is.
        let mut waiting = JoinSet::new();
        for _ in 0..=PRODUCTS_WAITING_MAX {
            let mut inventory = server.inventory();
            let products = PutProductsRequest {
                products: vec![product("a", 0)],
                ..Default::default()
            };
            waiting.spawn(async move { inventory.put_products(products).await });
        }
        let refused = waiting.join_next().await.unwrap().unwrap();
        is(&refused.unwrap_err(), "OVERLOADED");
        let (calls, documented) = (Calls::of(&server.channel), documented());
        let mut shown = 0;
        for rpc in of(&documented, "OVERLOADED") {
            is(&provoke(&calls, rpc, "OVERLOADED").await, "OVERLOADED");
            shown += 1;
        }
        assert!(shown >= WRITES_MIN, "{shown}");
        drop(hold);
        first.await.unwrap().unwrap();
        for put in waiting.join_all().await {
            put.unwrap();
        }
    }
}

async fn every_rpc_says_so_when_there_is_no_store(store: StoreKind) {
    let mut server = Stockroom::not_ready(Home::new(store), |config| {
        config.store.migrate_at_start = MigrateAtStart::Never;
    })
    .await;
    for (rpc, reasons) in documented() {
        assert!(reasons.contains(&"STORE_UNAVAILABLE"), "{rpc}");
        let status = provoke(&Calls::of(&server.channel), &rpc, "STORE_UNAVAILABLE").await;
        is(&status, "STORE_UNAVAILABLE");
    }
    server.end().unwrap();
    // The books are checked at the end, and need their tables.
    let store = Store::open(&server.home.store_config(), Access::Write).await;
    let store = store.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
}

async fn every_rpc_says_so_when_the_server_drains(store: StoreKind) {
    // Longer than it takes to see that it drains and to send a call of each kind.
    const LATE: Duration = Duration::from_secs(2);
    let mut server = Stockroom::start(store).await;
    // A server that drains tells its connections not to be used any more. Here it takes
    // a while to get there, as it does over any network.
    let proxy = Proxy::before(server.addr).await;
    let url = format!("http://{}", proxy.addr);
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let calls = Calls::of(&channel);
    // The connection is there and used.
    provoke(&calls, "GetProduct", "INVALID_REQUEST").await;
    let to_server = Duration::ZERO;
    let to_client = LATE;
    proxy.set(Line::Delayed {
        to_server,
        to_client,
    });
    server.begin_shutdown();
    eventually("it drains", async || {
        get(server.http, "/readyz").await.status == 503
    })
    .await;
    let rpcs = documented();
    let answers = rpcs.iter().map(|(rpc, reasons)| {
        assert!(reasons.contains(&"DRAINING"), "{rpc}");
        provoke(&calls, rpc, "DRAINING")
    });
    for status in futures_util::future::join_all(answers).await {
        is(&status, "DRAINING");
    }
}
