//! `stockroom load` in an open loop: what a stall delays is in its numbers.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixture::{Home, StoreKind, eventually};
use crate::process::{Server, stdout, stockroom};
use crate::scrape::Scrape;

on_each_store! { a_stall_that_outlasts_an_open_loop_is_in_its_numbers }

/// Orders that fall due, over two seconds.
const DUE: u64 = 200;

/// The server stops when this many have been made: when most are still to come.
const BEFORE: f64 = 20.0;

const ACCEPTED: &str = "stockroom_orders_total{outcome=\"accepted\",reason=\"\"}";

/// How long it stands still: until well after the last one was due.
const STALL: Duration = Duration::from_millis(2_500);

async fn a_stall_that_outlasts_an_open_loop_is_in_its_numbers(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = "load --json --rate 100 --seconds 2 --warmup-seconds 0 --skus 1 --in-flight 4";
    let mut flags: Vec<&str> = flags.split(' ').collect();
    flags.extend(["--addr", &server.url]);
    let load = stockroom(folder.path(), &flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Not from the books, which a busy machine may read for longer than the load goes on.
    let http = server.http().await;
    eventually("the load is under way", async || {
        Scrape::of(http).await.value(ACCEPTED) >= BEFORE
    })
    .await;
    server.signal(Signal::SIGSTOP);
    // Not a wait for something: it is the stall.
    tokio::time::sleep(STALL).await;
    server.signal(Signal::SIGCONT);

    let report = stdout(&load.wait_with_output().unwrap());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let number = |name: &str| {
        let number = report[name].as_f64();
        number.unwrap_or_else(|| panic!("{name} is not in {report:#}"))
    };
    // Whatever fell due when the server stopped was answered when it went on, after the end.
    assert!(number("max_ms") >= 1_000.0, "{report:#}");
    assert!(number("overrun_s") > 0.0, "{report:#}");
    // Each order that fell due is somewhere: accepted, refused, or not sent.
    let refused = number("refused_per_s") * 2.0;
    let told = number("accepted") + refused.round() + number("not_sent");
    assert_eq!(told as u64, DUE, "{report:#}");
    assert_eq!(home.books().orders as f64, number("accepted_total"));
}
