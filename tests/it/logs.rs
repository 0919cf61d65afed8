//! What a server's log says of its database, and how often.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::Value;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{CancelOrderRequest, GetOrderRequest, GetStockRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{order, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually};
use crate::holding::Hold;
use crate::process::{Server, run};
use crate::proxy::{Line, Proxy};
use crate::scrape::Scrape;

on_postgres! {
    each_reason_for_not_being_ready_is_said,
    a_role_that_may_not_see_the_tables_is_told_of_that,
    an_outage_is_a_line_a_second_however_many_meet_it,
    a_standby_is_said_once_however_many_meet_it,
    conflicts_that_go_on_and_on_are_no_news,
    a_lack_of_descriptors_is_said_once_however_many_wait_for_one,
    an_internal_error_says_what_was_asked_at_any_filter,
    books_that_cannot_be_checked_are_no_good_books,
}

/// Lets [`Server::start_with`] hear where it listens, and nothing else below `warn`.
const FILTER: &str = "log.filter=warn,stockroom::cli=info";

/// While steps of the schema are missing, or seem to be.
const WAITING: &str = "waiting for `stockroom migrate`, or this role may not see its tables";

/// What has been logged so far; the last line may be half read.
fn events(server: &Server) -> Vec<Value> {
    let log = server.log();
    let events = log.lines().map(serde_json::from_str);
    events.filter_map(Result::ok).collect()
}

fn has_said(server: &Server, message: &str) -> bool {
    events(server).iter().any(|it| it["message"] == message)
}

async fn wait_until_it_says(server: &Server, message: &str) {
    eventually(message, async || has_said(server, message)).await;
}

async fn each_reason_for_not_being_ready_is_said(store: StoreKind) {
    let home = Home::new(store);
    let proxy = Proxy::before_database_of(&home).await;
    proxy.set(Line::Down);
    let server = Server::spawn_at(home.clone(), &proxy.url(&home), &[]);
    wait_until_it_says(&server, "the database is not reachable").await;
    proxy.set(Line::Up);
    wait_until_it_says(&server, WAITING).await;
    let folder = tempfile::tempdir().unwrap();
    let migrated = run(folder.path(), &["migrate", "--store-url", &home.url()]);
    assert!(migrated.status.success(), "{migrated:?}");
    wait_until_it_says(&server, "serving").await;
    home.sql("ALTER TABLE store RENAME TO gone");
    let unusable = "the database is reachable and cannot be used";
    wait_until_it_says(&server, unusable).await;
    home.sql("ALTER TABLE gone RENAME TO store");
}

async fn a_role_that_may_not_see_the_tables_is_told_of_that(store: StoreKind) {
    let home = Home::new(store);
    // The schema, by a server that is gone before the other one comes.
    drop(Stockroom::on(home.clone(), |_| {}).await);
    let role = "sees_no_tables";
    home.sql(&format!("CREATE ROLE {role} LOGIN"));
    let url = home.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let server = Server::spawn_at(home.clone(), &format!("{scheme}://{role}@{place}"), &[]);
    wait_until_it_says(&server, WAITING).await;
    drop(server);
    home.sql(&format!("DROP ROLE {role}"));
}

async fn an_outage_is_a_line_a_second_however_many_meet_it(store: StoreKind) {
    const READS: usize = 400;
    const LINES_MAX: usize = 20;
    let home = Home::new(store);
    let proxy = Proxy::before_database_of(&home).await;
    let migrate = ["--set", "store.migrate_at_start=true"];
    let server = Server::spawn_at(home.clone(), &proxy.url(&home), &migrate);
    let mut server = server.served().await;
    let client = server.client().await;
    stock(&client, "a", 1).await;
    proxy.set(Line::Down);
    let read = GetStockRequest {
        sku: "a".to_owned(),
        ..GetStockRequest::default()
    };
    for answer in join_all((0..READS).map(|_| client.get_stock(read.clone()))).await {
        assert_eq!(answer.unwrap_err().reason, "STORE_UNAVAILABLE");
    }
    // Its order is read before anything else, by another task.
    let cancel = CancelOrderRequest {
        request_id: "c".to_owned(),
        order_id: uuid::Uuid::now_v7().to_string(),
        ..CancelOrderRequest::default()
    };
    let cancelled = client.cancel_order(cancel).await;
    assert_eq!(cancelled.unwrap_err().reason, "STORE_UNAVAILABLE");
    proxy.set(Line::Up);
    // Its end is the end of its log.
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let errors = events(&server);
    let errors: Vec<&Value> = errors.iter().filter(|it| it["level"] == "ERROR").collect();
    assert!((1..LINES_MAX).contains(&errors.len()), "{errors:#?}");
    assert!(!has_said(&server, "cannot read orders"), "{errors:#?}");
}

async fn a_standby_is_said_once_however_many_meet_it(_: StoreKind) {
    /// More than there are connections, each of which is tried for some seconds.
    const READS: usize = 100;
    const LINES_MAX: usize = 20;
    const STANDBY: &str = "the database is a standby, which is not promoted yet";
    let primary = crate::servers::postgres::Server::start();
    let standby = primary.replica();
    let home = Home::on(&primary);
    let proxy = Proxy::before_database_of(&home).await;
    let migrate = ["--set", "store.migrate_at_start=true"];
    let server = Server::spawn_at(home.clone(), &proxy.url(&home), &migrate);
    let server = server.served().await;
    let client = server.client().await;
    stock(&client, "a", 1).await;
    primary.wait_until_shown_by(&standby);
    proxy.lead_to(standby.name().parse().unwrap());
    proxy.cut();
    let read = GetStockRequest {
        sku: "a".to_owned(),
        ..GetStockRequest::default()
    };
    for answer in join_all((0..READS).map(|_| client.get_stock(read.clone()))).await {
        assert_eq!(answer.unwrap_err().reason, "STORE_UNAVAILABLE");
    }
    wait_until_it_says(&server, STANDBY).await;
    let events = events(&server);
    let said = events.iter().filter(|it| it["message"] == STANDBY);
    assert_eq!(said.count(), 1, "{events:#?}");
    let errors = events.iter().filter(|it| it["level"] == "ERROR");
    assert!(errors.count() < LINES_MAX, "{events:#?}");
    proxy.lead_to(primary.name().parse().unwrap());
    proxy.cut();
    eventually("it reads again", async || {
        client.get_stock(read.clone()).await.is_ok()
    })
    .await;
}

async fn conflicts_that_go_on_and_on_are_no_news(store: StoreKind) {
    /// On each instance.
    const CALLERS: usize = 16;
    let home = Home::new(store);
    let servers = [
        Server::start(home.clone()).await,
        Server::start(home.clone()).await,
    ];
    let (first, second) = (servers[0].client().await, servers[1].client().await);
    stock(&first, "hot", 1_000_000).await;
    let ports = [servers[0].http().await, servers[1].http().await];
    let has_escalated = AtomicBool::new(false);
    let callers = join_all((0..2 * CALLERS).map(|caller| {
        let client = if caller % 2 == 0 { &first } else { &second };
        let has_escalated = &has_escalated;
        async move {
            for i in 0.. {
                if has_escalated.load(Ordering::Relaxed) {
                    break;
                }
                // Whether it is refused for the conflicts is not what is asked here.
                let request = order(&format!("c{caller}-{i}"), &[("hot", 1)]);
                let _ = client.create_order(request).await;
            }
        }
    }));
    let watching = async {
        eventually("levels are locked for a while", async || {
            let mut escalations = 0.0;
            for port in ports {
                let scrape = Scrape::of(port).await;
                escalations += scrape.value("stockroom_lock_escalations_total");
            }
            escalations > 0.0
        })
        .await;
        has_escalated.store(true, Ordering::Relaxed);
    };
    tokio::join!(callers, watching);
    for server in &servers {
        let message = "conflicts are frequent; levels are locked for a while";
        assert!(!has_said(server, message), "{}", server.log());
    }
}

/// Each that has one gives it back in time, and the next gets it and one more waits.
async fn a_lack_of_descriptors_is_said_once_however_many_wait_for_one(store: StoreKind) {
    /// That the server has room for, and that come.
    const ROOM: usize = 10;
    const CALLERS: usize = 40;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let home = Home::new(store);
    let server = Server::start(home).await;
    let files = format!("/proc/{}/fd", server.pid());
    let files = std::fs::read_dir(files).unwrap().count() + ROOM;
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--nofile={files}:"))
        .status();
    assert!(limited.unwrap().success());
    let address = server.url.strip_prefix("http://").unwrap();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(PREFACE).await.unwrap();
        callers.push(caller);
    }
    let waits = "cannot accept a connection on server.listen";
    wait_until_it_says(&server, waits).await;
    for mut caller in callers {
        // What the server begins with comes to those alone whom it has taken.
        let heard = timeout(DEADLINE, caller.read_u8()).await;
        heard.expect("its turn comes").unwrap();
    }
    let said = events(&server);
    let said = said.iter().filter(|it| it["message"] == waits).count();
    assert_eq!(said, 1, "{}", server.log());
}

async fn an_internal_error_says_what_was_asked_at_any_filter(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start_with(home.clone(), &["--set", FILTER]).await;
    let client = server.client().await;
    stock(&client, "a", 10).await;
    let fine = client.create_order(order("fine", &[("a", 1)])).await;
    fine.unwrap();
    home.sql(
        "CREATE FUNCTION choke() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN RAISE EXCEPTION ''it chokes'' USING ERRCODE = ''P0001''; END';
         CREATE TRIGGER choke BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION choke();
         CREATE TABLE lost AS SELECT lines FROM orders;
         UPDATE orders SET lines = '7'",
    );
    let unlucky = client.create_order(order("unlucky", &[("a", 1)])).await;
    assert_eq!(unlucky.unwrap_err().reason, "INTERNAL");
    let read = GetOrderRequest {
        key: Some(Key::RequestId("fine".to_owned())),
        ..GetOrderRequest::default()
    };
    assert_eq!(client.get_order(read).await.unwrap_err().reason, "INTERNAL");
    home.sql("UPDATE orders SET lines = (SELECT lines FROM lost); DROP TRIGGER choke ON orders");
    let within = |field: &str, said: &str| {
        events(&server).iter().any(|it| {
            let value = it["span"][field].as_str();
            it["message"] == "internal error" && value.is_some_and(|it| it.contains(said))
        })
    };
    eventually("both are logged with what was asked", async || {
        within("request_id", "unlucky") && within("asked", "fine")
    })
    .await;
}

async fn books_that_cannot_be_checked_are_no_good_books(store: StoreKind) {
    let home = Home::new(store);
    // The schema, by a server that is gone before the books are out of reach.
    drop(Stockroom::on(home.clone(), |_| {}).await);
    let hold = Hold::on_all_of(&home, "stock_level").await;
    let timeout = ["--set", "store.statement_timeout_ms=1000"];
    let server = Server::start_with(home.clone(), &timeout).await;
    wait_until_it_says(&server, "the books cannot be checked").await;
    let listening = events(&server);
    let listening = listening
        .iter()
        .find(|it| it["message"] == "listening for scrapes");
    let address = listening.unwrap()["address"].as_str().unwrap();
    let scrape = Scrape::of(address.parse().unwrap()).await;
    let checked = scrape.value("stockroom_books_checked_timestamp_seconds");
    assert_eq!(checked, 0.0);
    drop(hold);
}
