//! Imports are sent in large pieces, and each row is applied once whatever becomes of them.

use std::process::Output;

use nix::sys::signal::Signal;

use super::interrupted::{signal, start};
use super::{Folder, counts, import_id, refused, said};
use crate::api::{level, put, received};
use crate::fixture::{Home, Stockroom, StoreKind, eventually};
use crate::process::{Server, run, stdout};
use crate::scrape::Scrape;

on_each_store! {
    an_import_sends_five_hundred_changes_a_call,
    a_piece_that_is_refused_is_written_up_to_the_row_that_is_to_blame,
    a_piece_that_was_killed_row_by_row_is_gone_on_with_row_by_row,
    importers_of_one_file_at_once_apply_each_row_once,
    a_row_that_was_imported_cannot_be_changed,
    a_server_that_takes_small_messages_alone_is_sent_row_by_row,
    a_product_that_is_refused_is_named_by_its_line,
}

async fn an_import_sends_five_hundred_changes_a_call(store: StoreKind) {
    const ROWS: usize = 2_600;
    let folder = Folder::new();
    let server = Stockroom::start(store).await;
    let addr = server.addr.to_string();
    let skus = (0..ROWS).map(|row| format!("sku-{row}"));
    let products: String = skus.clone().map(|sku| format!("{sku}\n")).collect();
    let levels: String = skus.map(|sku| format!("{sku},7\n")).collect();
    for (name, text, calls) in [
        ("products.csv", format!("sku\n{products}"), 0.0),
        ("levels.csv", format!("sku,on_hand\n{levels}"), 6.0),
    ] {
        let file = folder.write(name, text);
        let import = ["import", &file, "--addr", &addr];
        let printed = stdout(&run(folder.0.path(), &import));
        assert_eq!(counts(&printed), (ROWS as u64, 0), "{printed}");
        let scrape = Scrape::of(server.http).await;
        let adjustments = scrape.series.iter();
        let accepted = adjustments.filter(|(series, _)| {
            series.starts_with("stockroom_adjustments_total{") && series.contains("\"accepted\"")
        });
        let accepted: f64 = accepted.map(|(_, count)| count).sum();
        assert_eq!(accepted, calls, "{name}");
    }
    assert_eq!(level(&server.client, "sku-2599").await.on_hand, 7);
}

/// A file of so many adjustments of `a`, each by 1, but for this row, from 1.
fn adjustments(rows: usize, but_for: usize, delta: i64) -> String {
    let mut text = String::from("sku,delta,kind\n");
    for row in 1..=rows {
        let delta = if row == but_for { delta } else { 1 };
        text += &format!("a,{delta},correction\n");
    }
    text
}

async fn a_piece_that_is_refused_is_written_up_to_the_row_that_is_to_blame(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let told = refused(
        &server,
        &[&folder.write("a.csv", adjustments(1_200, 700, -700))],
    );
    assert!(
        told.contains("line 701: ") && told.contains("INSUFFICIENT_STOCK"),
        "{told}"
    );
    assert!(told.contains("1 problem:"), "{told}");
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (699, 699));
    let id = import_id(&told);
    let corrected = folder.write("a.csv", adjustments(1_200, 700, -699));
    for expected in [(501, 699), (0, 1_200)] {
        let printed = stdout(&server.run(&["import", &corrected, "--import-id", &id]));
        assert_eq!(counts(&printed), expected, "{printed}");
        let a = level(&client, "a").await;
        assert_eq!((a.on_hand, a.version), (500, 1_200));
    }
}

async fn a_piece_that_was_killed_row_by_row_is_gone_on_with_row_by_row(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let file = folder.write("a.csv", adjustments(1_000, 990, -10_000));
    let mut importing = start(&server.url, &["import", &file]);
    eventually("some rows of the second piece are written", async || {
        level(&client, "a").await.version >= 510
    })
    .await;
    signal(&importing, Signal::SIGKILL);
    assert!(!importing.wait().unwrap().success());
    let written = level(&client, "a").await.version;
    assert!(written < 989, "it was too fast");
    // Now the whole piece could be written.
    let delivery = received("delivery", "a", 1_000_000);
    client.adjust_stock(delivery).await.unwrap();
    let printed = stdout(&server.run(&["import", &file]));
    let (now, before) = counts(&printed);
    assert_eq!(now + before, 1_000, "{printed}");
    assert!(before >= written as u64, "{printed}");
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (999 - 10_000 + 1_000_000, 1_001));
}

async fn importers_of_one_file_at_once_apply_each_row_once(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let at_once = |file: &str, more: &[&str]| -> Vec<Output> {
        let arguments = [&["import", file], more].concat();
        let importing = [(); 3].map(|()| start(&server.url, &arguments));
        let ended = importing.map(|child| child.wait_with_output().unwrap());
        ended.into()
    };
    let file = folder.write("a.csv", adjustments(1_100, 800, -10_000));
    let mut id = String::new();
    for output in at_once(&file, &[]) {
        let told = said(&output);
        assert!(told.contains("line 801: "), "{told}");
        id = import_id(&told);
    }
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (799, 799));
    let corrected = folder.write("a.csv", adjustments(1_100, 800, -700));
    let mut now_in_all = 0;
    for output in at_once(&corrected, &["--import-id", &id]) {
        let (now, before) = counts(&stdout(&output));
        assert_eq!(now + before, 1_100);
        now_in_all += now;
    }
    assert_eq!(now_in_all, 301);
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (1_099 - 700, 1_100));
}

async fn a_row_that_was_imported_cannot_be_changed(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let file = folder.write("a.csv", adjustments(600, 0, 0));
    stdout(&server.run(&["import", &file, "--import-id", "mine"]));
    for (row, said) in [
        (7, "line 2: the rows up to line 501 were imported together"),
        (
            507,
            "line 502: the rows up to line 601 were imported together",
        ),
    ] {
        let changed = folder.write("b.csv", adjustments(600, row, 2));
        let told = refused(&server, &[&changed, "--import-id", "mine"]);
        assert!(told.contains(said), "{told}");
    }
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (600, 600));
}

async fn a_server_that_takes_small_messages_alone_is_sent_row_by_row(store: StoreKind) {
    const ROWS: usize = 300;
    let folder = Folder::new();
    let options = ["--set", "server.message_bytes_max=65536"];
    let server = Server::start_with(Home::new(store), &options).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let note = "n".repeat(500);
    let rows = (0..ROWS).map(|_| format!("a,1,received,{note}\n"));
    let rows: String = rows.collect();
    let file = folder.write("a.csv", format!("sku,delta,kind,note\n{rows}"));
    for expected in [(300, 0), (0, 300)] {
        let printed = stdout(&server.run(&["import", &file]));
        assert_eq!(counts(&printed), expected, "{printed}");
        let a = level(&client, "a").await;
        assert_eq!((a.on_hand, a.version), (300, 300));
    }
    let name = "n".repeat(250);
    let products: String = (0..ROWS).map(|row| format!("p-{row},{name}\n")).collect();
    let file = folder.write("products.csv", format!("sku,display_name\n{products}"));
    let printed = stdout(&server.run(&["import", &file]));
    assert_eq!(counts(&printed), (300, 0), "{printed}");
}

async fn a_product_that_is_refused_is_named_by_its_line(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    let owing = folder.write("owing.csv", "sku,backorder_limit\nb,5\n");
    stdout(&server.run(&["import", &owing]));
    let order = crate::api::order("o", &[("b", 3)]);
    client.create_order(order).await.unwrap();
    let file = folder.write("products.csv", "sku,backorder_limit\na,0\nb,2\nc,0\n");
    let told = refused(&server, &[&file]);
    assert!(
        told.contains("line 3: ") && told.contains("BACKORDERS_REMAIN"),
        "{told}"
    );
    assert!(told.contains("1 problem:"), "{told}");
}
