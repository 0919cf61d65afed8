//! The connections of callers: how long they live, and what becomes of more than fit.

use std::process::Command;

use stockroom::client::Client;
use stockroom::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{level, order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, in_time};
use crate::process::{Server, run};
use crate::proxy::Proxy;
use crate::watching::{Watcher, level_of, watch_of};

on_each_store! {
    callers_on_an_old_connection_come_to_another_instance_and_lose_nothing,
    a_connection_that_never_says_anything_is_closed,
    a_server_without_descriptors_says_so_and_waits,
    a_server_may_have_as_many_files_as_its_hard_limit_and_says_how_many,
}

async fn callers_on_an_old_connection_come_to_another_instance_and_lose_nothing(store: StoreKind) {
    let young = |config: &mut Config| config.server.connection_age_max_ms = 1_000;
    let first = Stockroom::with(store, young).await;
    let second = Stockroom::with(store, young).await;
    for server in [&first, &second] {
        stock(&server.client, "a", 1_000_000).await;
    }
    let proxy = Proxy::before(first.addr).await;
    let url = format!("http://{}", proxy.addr);
    let caller = Client::connect(&url, 1).await.unwrap().retrying();
    let mut watcher = Watcher::synced(&first, watch_of(vec![level_of("a")])).await;
    // What is connected stays where it is.
    proxy.lead_to(second.addr);
    let mut orders = 0;
    eventually("orders come to the other instance", async || {
        orders += 1;
        let request = order(&format!("o-{orders}"), &[("a", 1)]);
        caller.create_order(&request).await.unwrap();
        level(&second.client, "a").await.version > 1
    })
    .await;
    assert!(orders > 1, "the first came to where it was connected to");
    // A stream goes on, though its connection is as old.
    let request = order("last", &[("a", 1)]);
    let retrying = first.client.clone().retrying();
    retrying.create_order(&request).await.unwrap();
    let last = level(&first.client, "a").await.version;
    watcher.until("a", last).await;
}

async fn a_connection_that_never_says_anything_is_closed(store: StoreKind) {
    let short = |config: &mut Config| config.server.keepalive_timeout_ms = 100;
    let server = Stockroom::with(store, short).await;
    for said in ["", "PRI * HTTP/2.0"] {
        let mut silent = TcpStream::connect(server.addr).await.unwrap();
        silent.write_all(said.as_bytes()).await.unwrap();
        let mut nothing = [0];
        // What was said and not read makes the end of the connection a reset.
        let read = in_time("it is closed", silent.read(&mut nothing)).await;
        assert_eq!(read.unwrap_or(0), 0, "{said:?}");
    }
    // Those that speak stay.
    stock(&server.client, "a", 1).await;
}

/// Processor time of a process, or of this thread, so far, in ticks of 10 ms.
fn ticks(whose: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{whose}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // utime and stime, the 14th and 15th of all (proc(5)).
    [11, 12]
        .map(|i| fields[i].parse::<u64>().unwrap())
        .iter()
        .sum()
}

async fn a_server_without_descriptors_says_so_and_waits(store: StoreKind) {
    /// Ticks that this thread spends as fast as it gets them.
    const SPENT: u64 = 50;
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    stock(&client, "a", 10).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
    let few = open.unwrap().count() + 4;
    let limited = Command::new("prlimit")
        .args([
            "--pid",
            &server.pid().to_string(),
            &format!("--nofile={few}:"),
        ])
        .status();
    assert!(limited.unwrap().success());
    let address = server.url.strip_prefix("http://").unwrap();
    let mut connections = Vec::new();
    for _ in 0..40 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    let refused = || server.log().matches("server.listen").count();
    eventually("it says so", async || refused() > 0).await;
    // On a busy machine a server that turned round would get about as many as who does that here.
    let (process, thread) = (server.pid().to_string(), "thread-self");
    let (before, began) = (ticks(&process), ticks(thread));
    while ticks(thread) - began < SPENT {}
    let spent = ticks(&process) - before;
    assert!(spent < SPENT / 4, "{spent} while this thread had {SPENT}");
    assert_eq!(refused(), 1, "once");
    drop(connections);
    let another = server.client().await.retrying();
    another
        .create_order(&order("o", &[("a", 1)]))
        .await
        .unwrap();
}

async fn a_server_may_have_as_many_files_as_its_hard_limit_and_says_how_many(store: StoreKind) {
    // The soft one as systems have it, in little: connections would come to it first.
    let server = Server::start_with_files(Home::new(store), "64:512").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|it| it.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["512", "512"], "{limits}");
    let said = server.log().lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["message"] == "listening").then(|| event["files_max"].as_u64())
    });
    assert_eq!(said, Some(Some(512)));
    let address = server.url.strip_prefix("http://").unwrap();
    let mut connections = Vec::new();
    for _ in 0..128 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    stock(&server.client().await, "a", 1).await;
    assert!(!server.log().contains("server.listen"), "none is refused");
}

#[test]
fn a_url_that_is_none_is_refused_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    for (url, code) in [
        // What is special would have to be percent-encoded.
        ("postgres://u:hun/ter2@127.0.0.1/d", 2),
        ("postgres://127.0.0.1/d?user=u&password=hun@ter2", 2),
        // sqlx would log these with their values.
        ("postgres://127.0.0.1/d?user=u&passwd=hunter2", 2),
        ("postgres://u@127.0.0.1/d?sslpassword=hunter2", 2),
        // Only who connects finds out.
        ("postgres://u:hunter2@127.0.0.1:port/d", 1),
    ] {
        let migrate = run(folder.path(), &["migrate", "--store-url", url]);
        let said = String::from_utf8(migrate.stderr).unwrap();
        assert_eq!(migrate.status.code(), Some(code), "{said}");
        assert!(said.contains("store.url"), "{said}");
        assert!(!said.contains("hun") && !said.contains("ter2"), "{said}");
    }
}
