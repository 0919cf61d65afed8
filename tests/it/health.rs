//! `stockroom health`: what it exits with.

use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::fixture::{Home, StoreKind, eventually};
use crate::process::{Server, run, stockroom};

on_each_store! {
    health_exits_0_when_the_server_serves,
}

async fn health_exits_0_when_the_server_serves(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let asked = server.run(&["health"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    assert_eq!(asked.stdout, b"serving\n");
    // As in a container, which listens everywhere: asked by its configuration alone.
    let port = server.addr().port();
    let folder = tempfile::tempdir().unwrap();
    let asked = stockroom(folder.path(), &["health"])
        .env("STOCKROOM_SERVER_LISTEN", format!("0.0.0.0:{port}"))
        .output()
        .unwrap();
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}

/// Asks a server that will not answer well.
fn ask(addr: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["health", "--addr", addr])
}

#[test]
fn health_exits_1_soon_when_nobody_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let began = Instant::now();
    // The system takes the connection, and nobody ever speaks on it.
    let silent = ask(&addr);
    assert_eq!(silent.status.code(), Some(1), "{silent:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(listener);
    let refused = ask(&addr);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(&addr), "{said}");
}

/// SQLite keeps `migrate` out while a server has the file.
mod unmigrated {
    use super::*;

    on_postgres! {
        health_exits_1_until_the_schema_is_there,
    }

    async fn health_exits_1_until_the_schema_is_there(store: StoreKind) {
        let home = Home::new(store);
        let server = Server::spawn(home.clone(), &[]);
        let asked = server.run(&["health"]);
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
        assert_eq!(asked.stdout, b"not serving\n");
        let folder = tempfile::tempdir().unwrap();
        let migrated = run(folder.path(), &["migrate", "--store-url", &home.url()]);
        assert!(migrated.status.success(), "{migrated:?}");
        eventually("health exits 0", async || {
            server.run(&["health"]).status.success()
        })
        .await;
    }
}
