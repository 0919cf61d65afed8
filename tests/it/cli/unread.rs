//! Commands whose output nobody reads: they do what they are for, and end with the code that
//! they would have ended with.

use std::fs;
use std::path::Path;

use crate::api::{level, stock};
use crate::fixture::{Home, StoreKind, eventually};
use crate::process::{Running, Server, stockroom};

on_each_store! { commands_end_as_they_would_where_nobody_reads_what_they_say }

/// The exit code of a command when standard output and standard error are pipes that are
/// closed at the other end.
async fn unread(folder: &Path, arguments: &[&str]) -> Option<i32> {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut command = stockroom(folder, arguments);
    let child = command.stdout(closed()).stderr(closed()).spawn();
    let mut child = Running(child.unwrap());
    let mut ended = None;
    eventually(&format!("{arguments:?} ends"), async || {
        ended = child.0.try_wait().unwrap();
        ended.is_some()
    })
    .await;
    ended.unwrap().code()
}

async fn commands_end_as_they_would_where_nobody_reads_what_they_say(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    stock(&client, "a", 10).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sample = fs::read_to_string(super::sample()).unwrap();
    let invoices: String = sample.split_inclusive('\n').take(3).collect();
    for (name, text) in [
        ("products.csv", "sku\nb\n"),
        ("levels.csv", "sku,on_hand\nb,5\n"),
        ("invoices.csv", &invoices),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    for (command, code) in [
        ("health", 0),
        ("watch", 0),
        ("get a", 0),
        ("get unknown", 1),
        ("import products.csv --check", 0),
        ("import products.csv", 0),
        // The second time it says how to apply them once more.
        ("import levels.csv", 0),
        ("import levels.csv", 0),
        ("export levels --output exported.csv", 0),
        // The second time it says that this is no news.
        ("adjust a --delta 1 --kind received --request-id r", 0),
        ("adjust a --delta 1 --kind received --request-id r", 0),
        ("replay invoices.csv", 0),
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--addr", &server.url]).collect();
        assert_eq!(unread(folder, &arguments).await, Some(code), "{command}");
    }
    for (command, code) in [
        ("config", 0),
        ("config --set store.pool_max=99", 2),
        ("migrate --store-url sqlite://other.db", 0),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        assert_eq!(unread(folder, &arguments).await, Some(code), "{command}");
    }
    assert_eq!(level(&client, "a").await.on_hand, 11);
    assert_eq!(level(&client, "b").await.on_hand, 5);
    let exported = fs::read_to_string(folder.join("exported.csv")).unwrap();
    assert_eq!(exported.lines().count(), 3, "{exported}");
}
