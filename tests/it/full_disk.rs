//! The disk is full, and then it is not; and what must not fill it. SQLite only: PostgreSQL's
//! disk is its own affair.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};

use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, run_on};
use crate::process::Server;

/// Orders after which one has not fitted on the disk.
const ORDERS_MAX: usize = 100;

#[test]
fn a_disk_that_was_full_takes_orders_again() {
    run_on(StoreKind::Sqlite, orders_that_do_not_fit);
}

async fn orders_that_do_not_fit(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start_on_a_disk_that_fills(home.clone()).await;
    let client = server.client().await;
    stock(&client, "a", 1_000).await;
    let Home::Sqlite { folder } = &*home else {
        panic!("it is not SQLite")
    };
    let files = folder.path().read_dir().unwrap();
    let largest = files.map(|file| file.unwrap().metadata().unwrap().len());
    limit(&server, &largest.max().unwrap().to_string());
    let mut made = 0;
    let refused = loop {
        assert!(made < ORDERS_MAX, "the disk is not full");
        let request = order(&format!("o-{made}"), &[("a", 1)]);
        match client.create_order(request).await {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.reason, "STORE_UNAVAILABLE", "{refused}");
    limit(&server, "unlimited");
    let next = made..made + 10;
    for i in next.clone() {
        let request = order(&format!("o-{i}"), &[("a", 1)]);
        let answer = client.create_order(request).await.unwrap();
        assert!(!answer.replayed, "what did not fit was refused");
    }
    assert_eq!(home.books().orders, next.end as i64);
}

#[test]
fn the_log_begins_anew_though_there_is_always_somebody_who_reads() {
    run_on(StoreKind::Sqlite, reads_that_overlap);
}

async fn reads_that_overlap(store: StoreKind) {
    /// As long as a log may be before it is waited for, and one page.
    const BALLAST: &str = "\
        PRAGMA wal_autocheckpoint = 0;
        CREATE TABLE ballast AS SELECT zeroblob(134217728 + 2048) AS bytes";
    const READ: &str = "BEGIN; SELECT count(*) FROM product";
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000_000).await;
    let Home::Sqlite { folder } = &*server.home else {
        panic!("it is not SQLite")
    };
    let log = folder.path().join("stockroom.db-wal");
    let log_bytes = || log.metadata().unwrap().len();
    let [writer, first, second] = [(); 3].map(|()| connect(&server.home));
    let (writer, first, second) = tokio::join!(writer, first, second);
    let run = async |database: &DatabaseConnection, sql: &str| {
        database.execute_unprepared(sql).await.unwrap();
    };
    run(&first, READ).await;
    run(&writer, BALLAST).await;
    let long = log_bytes();
    let is_over = AtomicBool::new(false);
    let reading = async {
        while !is_over.load(Ordering::Relaxed) {
            run(&second, READ).await;
            run(&first, "COMMIT").await;
            run(&first, READ).await;
            run(&second, "COMMIT").await;
        }
        run(&first, "COMMIT").await;
    };
    let selling = async {
        let mut orders = 0;
        eventually("the log begins anew", async || {
            orders += 1;
            let request = order(&format!("o-{orders}"), &[("a", 1)]);
            server.client.create_order(request).await.unwrap();
            log_bytes() < long / 2
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(reading, selling);
    for database in [writer, first, second] {
        database.close().await.unwrap();
    }
}

/// A connection of its own.
async fn connect(home: &Home) -> DatabaseConnection {
    let mut options = ConnectOptions::new(home.url());
    options.max_connections(1);
    Database::connect(options).await.unwrap()
}

/// Lets no file of the server grow beyond so many bytes.
fn limit(server: &Server, bytes: &str) {
    let pid = server.pid().to_string();
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.unwrap().success());
}
