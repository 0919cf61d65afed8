//! The commands of the binary, as people run them.

use std::path::Path;

use futures_util::future::join_all;

use crate::api::{order, stock};
use crate::fixture::{DEADLINE, Home, StoreKind};
use crate::process::{Running, Server, run, stdout, stockroom};
use crate::watching::everything;

on_each_store! {
    a_file_replayed_twice_changes_nothing_the_second_time,
    a_replay_fails_where_an_order_is_refused_and_not_for_want_of_stock,
    load_counts_what_it_sold,
    watch_prints_levels_as_they_change,
    a_watcher_that_stops_reading_costs_bounded_memory_and_gets_the_last_value,
}

/// The sample of real orders.
fn sample() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("data/online_retail_10k.csv")
        .display()
        .to_string()
}

async fn a_file_replayed_twice_changes_nothing_the_second_time(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    let replay = || stdout(&server.run(&["replay", &sample(), "--clients", "16"]));
    let row = |text: &str, name: &str| -> Vec<u64> {
        let line = text.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("no row {name:?} in\n{text}"));
        let cells = line.split(['|', '│', '┆']).flat_map(str::split_whitespace);
        cells
            .filter_map(|cell| cell.replace(',', "").parse().ok())
            .collect()
    };
    let first = replay();
    // accepted, replayed, refused; the file's 438 orders all fit.
    assert_eq!(row(&first, "orders")[..3], [438, 0, 0], "{first}");
    assert_eq!(row(&first, "corrections")[..3], [30, 0, 0], "{first}");
    let books = home.books();
    assert_eq!(books.orders, 438);
    let second = replay();
    assert_eq!(row(&second, "orders")[..3], [438, 438, 0], "{second}");
    for name in ["opening stock", "return lines", "corrections"] {
        let (before, now) = (row(&first, name), row(&second, name));
        assert_eq!(now[..3], [before[0], before[0], 0], "{name}: {second}");
    }
    assert_eq!(home.books(), books);
    // Its stock is there already; with less no order would be as it was.
    let less = server.run(&["replay", &sample(), "--stock", "0.5"]);
    let said = String::from_utf8_lossy(&less.stderr);
    assert!(
        !less.status.success() && said.contains("another --stock"),
        "{said}"
    );
    assert_eq!(home.books(), books);
}

async fn a_replay_fails_where_an_order_is_refused_and_not_for_want_of_stock(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invoices.csv").display().to_string();
    let header = "invoice_no,stock_code,description,quantity,customer_id\n";
    std::fs::write(&file, format!("{header}1,A,Apple,2,\n2,A,Apple,3,\n")).unwrap();
    let short = server.run(&["replay", &file, "--stock", "0", "--clients", "1"]);
    assert!(stdout(&short).contains("2 orders, INSUFFICIENT_STOCK"));
    // Somebody else's order has the number of an invoice.
    stock(&client, "A", 10).await;
    client.create_order(order("1", &[("A", 5)])).await.unwrap();
    let reused = server.run(&["replay", &file, "--stock", "0"]);
    let said = String::from_utf8_lossy(&reused.stderr);
    assert_eq!(reused.status.code(), Some(1), "{said}");
    assert!(said.contains("1 requests were refused"), "{said}");
    let tables = String::from_utf8_lossy(&reused.stdout);
    assert!(tables.contains("1 orders, REQUEST_ID_REUSED"), "{tables}");
    assert_eq!(crate::api::level(&client, "A").await.on_hand, 2);
}

async fn load_counts_what_it_sold(store: StoreKind) {
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    let flags = [
        "load",
        "--json",
        "--seconds",
        "0.5",
        "--warmup-seconds",
        "0",
        "--skus",
        "3",
    ];
    let report = stdout(&server.run(&[&flags[..], &["--in-flight", "8"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let accepted = report["accepted"]
        .as_i64()
        .unwrap_or_else(|| panic!("{report:#}"));
    let sold = home.books().orders;
    // Calls that end after the measured time count as sold and not as measured.
    assert!(
        accepted > 0 && (accepted..=accepted + 8).contains(&sold),
        "{accepted} of {sold}"
    );
}

async fn watch_prints_levels_as_they_change(store: StoreKind) {
    use std::io::{BufRead as _, BufReader};
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    stock(&client, "85123A", 10).await;
    let folder = tempfile::tempdir().unwrap();
    let watching = stockroom(folder.path(), &["watch", "85123A", "--addr", &server.url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut watching = Running(watching.unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut row = || {
        let line = lines.next().unwrap().unwrap();
        let cells: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        cells[1..].join(" ")
    };
    assert_eq!(row(), "SKU LOCATION ON HAND AVAILABLE VERSION");
    assert_eq!(row(), "85123A main 10 10 1");
    client
        .create_order(order("o", &[("85123A", 3)]))
        .await
        .unwrap();
    assert_eq!(row(), "85123A main 7 7 2");
}

/// By how much the server grew in the part in which it grew least. A queue grows in
/// every part; what a cache or an allocator takes once it does not take again. Ends with
/// the first part below `enough`.
async fn least_growth(server: &Server, sell: impl AsyncFn(&str), enough: usize) -> usize {
    let mut least = usize::MAX;
    for part in ["second", "third", "fourth"] {
        let before = server.resident_bytes();
        sell(part).await;
        least = least.min(server.resident_bytes().saturating_sub(before));
        if least < enough {
            break;
        }
    }
    least
}

async fn a_watcher_that_stops_reading_costs_bounded_memory_and_gets_the_last_value(
    store: StoreKind,
) {
    use stockroom::client::proto::WatchStockRequest;
    use stockroom::client::proto::inventory_service_client::InventoryServiceClient;
    use stockroom::client::proto::watch_stock_response::Event;

    const CALLERS: usize = 64;
    const ORDERS: usize = 25;
    const GROWTH_MAX: usize = 16 << 20;
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    let skus: Vec<String> = (0..50).map(|i| format!("sku-{i}")).collect();
    for sku in &skus {
        stock(&client, sku, 1_000_000).await;
    }
    // Twenty streams that nobody reads from, on connections of their own.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut inventory = InventoryServiceClient::connect(server.url.clone())
            .await
            .unwrap();
        let selectors = vec![everything()];
        let request = WatchStockRequest {
            selectors,
            ..WatchStockRequest::default()
        };
        streams.push(inventory.watch_stock(request).await.unwrap().into_inner());
    }
    let sell = async |part: &str| {
        let callers = (0..CALLERS).map(|caller| {
            let (client, skus) = (&client, &skus);
            async move {
                for i in 0..ORDERS {
                    let lines: Vec<_> = (0..10)
                        .map(|line| (skus[(caller + i + line) % skus.len()].as_str(), 1))
                        .collect();
                    let request = order(&format!("{part}-{caller}-{i}"), &lines);
                    client.create_order(request).await.unwrap();
                }
            }
        });
        join_all(callers).await;
    };
    // The first parts warm caches, prepare a statement for each length of a batch,
    // and fill the windows of the connections.
    sell("first").await;
    sell("again").await;
    // A queue of values would hold 20 streams × 16,000 changes × 100 bytes.
    let least_grown = least_growth(&server, sell, GROWTH_MAX).await;
    assert!(
        least_grown < GROWTH_MAX,
        "{least_grown} bytes more after each {} changes",
        CALLERS * ORDERS * 10
    );
    let version = crate::api::level(&client, "sku-7").await.version;
    for stream in &mut streams {
        let mut last = 0;
        let reading = async {
            while last < version {
                let message = stream.message().await.unwrap().unwrap();
                let Some(Event::Changes(changes)) = message.event else {
                    continue;
                };
                for level in changes.levels.iter().filter(|level| level.sku == "sku-7") {
                    assert!(level.version > last);
                    last = level.version;
                }
            }
        };
        let read = tokio::time::timeout(DEADLINE, reading).await;
        assert!(read.is_ok(), "version {version} does not come after {last}");
    }
}

mod by_hand;
mod demo;
mod load;
mod sheets;
mod unread;

mod configuration {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_exit_code_2() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stockroom.toml");
        std::fs::write(&file, "[engine]\nbatch_orders_max = 0\nbatchsize = 1\n").unwrap();
        for command in ["config", "serve", "migrate"] {
            let output = stockroom(folder.path(), &[command, "--set", "store.pool_max=99"])
                .env("STOCKROOM_WATCH_HEARTBEAT_MS", "soon")
                .env("STOCKROOM_SERVER_PORT", "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            for problem in [
                "engine.batch_orders_max must be 1 to 16384",
                "engine.batchsize",
                "store.pool_max must be 1 to 64",
                "watch.heartbeat_ms must be",
                "STOCKROOM_SERVER_PORT",
            ] {
                assert!(said.contains(problem), "{problem:?} is not in {said}");
            }
        }
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stockroom.toml");
        std::fs::write(
            &file,
            "[watch]\nheartbeat_ms = 1000\nstreams_max = 10\nage_max_ms = 2000\n",
        )
        .unwrap();
        let output = stockroom(
            folder.path(),
            &["config", "--set", "watch.heartbeat_ms=3000"],
        )
        .env("STOCKROOM_WATCH_HEARTBEAT_MS", "2000")
        .env("STOCKROOM_WATCH_STREAMS_MAX", "20")
        .output()
        .unwrap();
        let shown: toml::Table = stdout(&output).parse().unwrap();
        let watch = shown["watch"].as_table().unwrap();
        let numbers = [
            "heartbeat_ms",
            "streams_max",
            "age_max_ms",
            "reread_interval_ms",
        ]
        .map(|key| watch[key].as_integer().unwrap());
        assert_eq!(numbers, [3_000, 20, 2_000, 500]);
    }

    #[test]
    fn a_password_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let url = "postgres://stockroom:hunter2@localhost:1/stockroom";
        let shown = stockroom(folder.path(), &["config"])
            .env("STOCKROOM_STORE_URL", url)
            .output();
        let shown = stdout(&shown.unwrap());
        assert!(shown.contains("stockroom:***@localhost"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        // Nor by a command that fails on it.
        let failed = run(folder.path(), &["migrate", "--store-url", url]);
        let said = String::from_utf8_lossy(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1));
        assert!(!said.contains("hunter2"), "{said}");
    }
}
