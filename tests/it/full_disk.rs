//! The disk is full, and then it is not. SQLite only: PostgreSQL's disk is its own affair.

use std::process::Command;

use crate::api::{order, stock};
use crate::fixture::{Home, StoreKind, run_on};
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

/// Lets no file of the server grow beyond so many bytes.
fn limit(server: &Server, bytes: &str) {
    let pid = server.pid().to_string();
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.unwrap().success());
}
