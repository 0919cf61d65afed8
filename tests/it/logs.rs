//! What a server's log says of its database, and how often.

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::Value;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{GetOrderRequest, GetStockRequest};

use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::holding::Hold;
use crate::process::{Server, run};
use crate::proxy::{Line, Proxy};
use crate::scrape::Scrape;

on_postgres! {
    each_reason_for_not_being_ready_is_said,
    an_outage_is_a_line_a_second_however_many_meet_it,
    an_internal_error_says_what_was_asked_at_any_filter,
    books_that_cannot_be_checked_are_no_good_books,
}

/// Lets [`Server::start_with`] hear where it listens, and nothing else below `warn`.
const FILTER: &str = "log.filter=warn,stockroom::cli=info";

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
    wait_until_it_says(&server, "waiting for `stockroom migrate`").await;
    let folder = tempfile::tempdir().unwrap();
    let migrated = run(folder.path(), &["migrate", "--store-url", &home.url()]);
    assert!(migrated.status.success(), "{migrated:?}");
    wait_until_it_says(&server, "serving").await;
    home.sql("ALTER TABLE store RENAME TO gone");
    let unusable = "the database is reachable and cannot be used";
    wait_until_it_says(&server, unusable).await;
    home.sql("ALTER TABLE gone RENAME TO store");
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
    proxy.set(Line::Up);
    // Its end is the end of its log.
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let errors = events(&server);
    let errors: Vec<&Value> = errors.iter().filter(|it| it["level"] == "ERROR").collect();
    assert!((1..LINES_MAX).contains(&errors.len()), "{errors:#?}");
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
