//! Those who listen: other instances for their watchers, and people at a terminal.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions};
use stockroom::events::Topic;

use super::told::{Told, shared_kafka};
use crate::api::{order, stock};
use crate::fixture::{DEADLINE, Home, Stockroom, StoreKind, eventually, run_on};
use crate::process::{Running, run, stdout, stockroom};
use crate::watching::{Watcher, everything, watch_of};

on_each_store! {
    events_are_shown_decoded_and_as_json,
    showing_events_ends_well_when_whoever_reads_has_seen_enough,
    partitions_that_are_added_are_shown_too,
}

mod topics {
    use super::*;

    #[test]
    fn those_that_are_made_are_named_though_another_one_is_refused() {
        run_on(StoreKind::Sqlite, |_| those_that_are_made_are_named());
    }
}

mod instances {
    on_postgres! { what_another_instance_told_kafka_reaches_watchers }

    use super::*;

    /// The second instance is on a database of its own that has the first one's id, so
    /// that there is no other way for it to hear.
    async fn what_another_instance_told_kafka_reaches_watchers(store: StoreKind) {
        let Some(kafka) = shared_kafka() else { return };
        let told = Told::on(kafka).await;
        let (home, other_home) = (Home::new(store), Home::new(store));
        let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
        drop(Stockroom::on(other_home.clone(), |_| {}).await);
        let id = home.sql("SELECT store_id FROM store");
        other_home.sql(&format!("UPDATE store SET store_id = '{id}'"));
        let other = Stockroom::on(other_home.clone(), |c| told.configure(c)).await;
        let mut watcher = Watcher::open(&other, watch_of(vec![everything()])).await;
        stock(&server.client, "a", 10).await;
        let heard = &other.counters.relay.heard;
        // It begins at the end, wherever that is when it finds the topic.
        let mut sold = 0;
        eventually("it hears", async || {
            sold += 1;
            stock(&server.client, &format!("sku-{sold}"), 1).await;
            heard.get() > 0
        })
        .await;
        let made = server.client.create_order(order("o", &[("a", 3)]));
        made.await.unwrap();
        let level = watcher.until("a", 2).await;
        assert_eq!((level.on_hand, level.version), (7, 2));
    }
}

/// The arguments of `stockroom events` for what is told, and these.
fn events(told: &Told, flags: &[&str]) -> Vec<String> {
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    let events = ["events".to_owned()].into_iter();
    events.chain(told.options()).chain(flags).collect()
}

async fn events_are_shown_decoded_and_as_json(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::without_topics(kafka);
    let folder = tempfile::tempdir().unwrap();
    let made = events(&told, &["--create-topics", "3"]);
    let named = stdout(&run(folder.path(), &made));
    assert_eq!(named.lines().count(), Topic::ALL.len(), "{named}");
    // Those that are there already are left alone.
    assert_eq!(stdout(&run(folder.path(), &made)), "");

    let home = Home::new(store);
    let server = Stockroom::on(home.clone(), |c| told.configure(c)).await;
    stock(&server.client, "sku", 10).await;
    let made = server.client.create_order(order("o", &[("sku", 3)]));
    let order = made.await.unwrap().order.unwrap();
    told.check(&home, &[order.order_id.clone()].into()).await;

    let shown = events(&told, &["--from-beginning"]);
    let shown = lines(folder.path(), &shown, 3);
    assert!(
        shown
            .iter()
            .any(|it| it.contains("sku@main: 7 on hand, 7 available; version 2 (ORDERED)")),
        "{shown:#?}"
    );
    assert!(
        shown
            .iter()
            .any(|it| it.contains("(o), CONFIRMED: 3 of sku@main")),
        "{shown:#?}"
    );
    let shown = events(&told, &["--from-beginning", "--json"]);
    let shown = lines(folder.path(), &shown, 3);
    let shown = shown
        .iter()
        .map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap());
    let shown: Vec<_> = shown.filter(|it| it["topic"] == "order.created").collect();
    let [shown] = &shown[..] else {
        panic!("{shown:#?}")
    };
    assert_eq!(shown["key"], order.order_id);
    assert_eq!(shown["data"]["order"]["lines"][0]["quantity"], 3);
}

async fn showing_events_ends_well_when_whoever_reads_has_seen_enough(store: StoreKind) {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::on(kafka).await;
    let server = Stockroom::with(store, |c| told.configure(c)).await;
    stock(&server.client, "sku", 10).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = stockroom(folder.path(), &events(&told, &["--from-beginning"]));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    // One that goes on is ended, and that is no success.
    let _ = child.kill();
    stdout(&child.wait_with_output().unwrap());
}

/// The first lines that a command prints which would go on.
fn lines(folder: &std::path::Path, arguments: &[String], count: usize) -> Vec<String> {
    let mut command = stockroom(folder, arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let reader = BufReader::new(child.stdout.take().unwrap());
    let lines = reader.lines().take(count).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

/// The lines of a pipe as they come, so that they can be waited for with a deadline.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Read to its end, whoever has seen enough: the process shall not wait.
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Raises a topic to so many partitions.
async fn raise(told: &Told, topic: Topic, partitions: usize) {
    let name = format!("{}{}", told.prefix, topic.name());
    let admin = told.admin();
    let more = NewPartitions::new(&name, partitions);
    let added = admin.create_partitions([&more], &AdminOptions::new());
    assert_eq!(added.await.unwrap(), [Ok(name.clone())]);
    eventually("the partitions are there", async || {
        let metadata = admin.inner().fetch_metadata(Some(&name), DEADLINE).unwrap();
        metadata.topics()[0].partitions().len() == partitions
    })
    .await;
}

async fn partitions_that_are_added_are_shown_too(store: StoreKind) {
    const PARTITIONS: usize = 3;
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::without_topics(kafka);
    let folder = tempfile::tempdir().unwrap();
    stdout(&run(
        folder.path(),
        &events(&told, &["--create-topics", "1"]),
    ));
    let mut command = stockroom(folder.path(), &events(&told, &["--json"]));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut showing = Running(command.spawn().unwrap());
    let said = lines_of(showing.0.stderr.take().unwrap());
    while said.recv_timeout(DEADLINE).unwrap() != "listening" {}
    let shown = lines_of(showing.0.stdout.take().unwrap());
    raise(&told, Topic::StockUpdated, PARTITIONS).await;

    // Begun after that, it tells all of them.
    let server = Stockroom::with(store, |c| told.configure(c)).await;
    let mut left: BTreeSet<String> = (0..20).map(|number| format!("sku-{number}")).collect();
    for sku in &left {
        stock(&server.client, sku, 10).await;
    }
    let mut partitions = BTreeSet::new();
    while !left.is_empty() {
        let event = shown.recv_timeout(DEADLINE);
        let event = event.unwrap_or_else(|_| panic!("{left:?} are not shown"));
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        left.remove(event["key"].as_str().unwrap());
        partitions.insert(event["partition"].as_u64().unwrap());
    }
    assert_eq!(partitions.len(), PARTITIONS);
}

async fn those_that_are_made_are_named() {
    let Some(kafka) = shared_kafka() else { return };
    let told = Told::without_topics(kafka);
    // Kafka has no two topics whose names differ in `.` and `_` alone.
    let other = Told {
        kafka: Arc::clone(&told.kafka),
        prefix: told.prefix.replace('.', "_"),
    };
    other.make(Topic::OrderCreated, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &events(&told, &["--create-topics", "1"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let refused = format!("{}{}", told.prefix, Topic::OrderCreated.name());
    let why = format!("kafka does not make the topic {refused}: ");
    assert!(said.contains(&why), "{said}");
    let named = String::from_utf8_lossy(&output.stdout);
    assert_eq!(named.lines().count(), Topic::ALL.len() - 1, "{named}");
    assert!(named.lines().all(|name| name != refused), "{named}");
}
