//! Imports and exports that do not come to their end, and go on.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Folder, columns, counts, import_id, refused, said};
use crate::api::{level, put, received, stock};
use crate::fixture::{DEADLINE, Home, StoreKind, eventually};
use crate::process::{Server, stdout, stockroom};
use crate::proxy::{Line, Proxy};

on_each_store! {
    an_import_that_is_killed_goes_on_and_applies_each_row_once,
    an_import_outlives_a_server_that_is_killed,
    a_row_that_is_refused_is_corrected_and_gone_on_with,
    an_interrupted_import_says_how_to_go_on,
    an_import_whose_file_changes_meanwhile_is_gone_on_with_by_its_id,
    an_export_that_is_killed_goes_on_after_its_last_whole_row,
    a_level_that_is_new_meanwhile_makes_no_row_of_an_export_come_twice,
    an_export_that_was_killed_after_its_last_page_writes_no_row_again,
    an_export_to_a_full_disk_names_its_file_and_goes_on_when_there_is_room,
}

/// A process that imports or exports, to be killed.
pub(super) fn start(url: &str, arguments: &[&str]) -> Child {
    let mut command = stockroom(Path::new("."), &[arguments, &["--addr", url]].concat());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

pub(super) fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Levels of an import that is to be ended on its way: twenty-four pieces.
const IMPORTED: usize = 12_000;

/// Levels of an export.
const EXPORTED: usize = 4_000;

/// Products in the store and a file that counts each of them, unsorted.
async fn many_levels(server: &Server, folder: &Folder, count: usize) -> String {
    let mut products = String::from("sku\n");
    let mut levels = String::from("sku,on_hand\n");
    for row in 0..count {
        let sku = row * 7_919 % count;
        products += &format!("sku-{sku}\n");
        levels += &format!("sku-{sku},{}\n", sku + 1);
    }
    let products = folder.write("products.csv", products);
    stdout(&server.run(&["import", &products]));
    folder.write("levels.csv", levels)
}

/// Fails unless every level was counted once.
fn check_counted_once(server: &Server) {
    let exported = stdout(&server.run(&["export", "levels"]));
    let rows = columns(&exported, &[0, 2, 5]);
    assert_eq!(rows.len() - 1, IMPORTED);
    for row in &rows[1..] {
        let mut cells = row.split('|');
        let sku: usize = cells.next().unwrap()[4..].parse().unwrap();
        assert_eq!(cells.next().unwrap(), (sku + 1).to_string(), "{row}");
        assert_eq!(cells.next().unwrap(), "1", "{row}");
    }
}

async fn some_are_counted(server: &Server) {
    let client = server.client().await;
    eventually("some rows are written", async || {
        // The row in the middle of the first piece.
        level(&client, &format!("sku-{}", 250 * 7_919 % IMPORTED))
            .await
            .version
            == 1
    })
    .await;
}

async fn an_import_that_is_killed_goes_on_and_applies_each_row_once(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, IMPORTED).await;
    let mut importing = start(&server.url, &["import", &file]);
    some_are_counted(&server).await;
    signal(&importing, Signal::SIGKILL);
    assert!(!importing.wait().unwrap().success(), "it was too fast");
    let printed = stdout(&server.run(&["import", &file]));
    let (now, before) = counts(&printed);
    assert!(now > 0 && before >= 250, "{printed}");
    assert_eq!(now + before, IMPORTED as u64);
    check_counted_once(&server);
}

async fn an_import_outlives_a_server_that_is_killed(store: StoreKind) {
    let folder = Folder::new();
    let home = Home::new(store);
    let server = Server::start(home.clone()).await;
    let file = many_levels(&server, &folder, IMPORTED).await;
    let proxy = Proxy::before(server.addr()).await;
    let importing = start(&format!("http://{}", proxy.addr), &["import", &file]);
    some_are_counted(&server).await;
    server.kill();
    let server = Server::start(home).await;
    proxy.lead_to(server.addr());
    let waiting = tokio::task::spawn_blocking(|| importing.wait_with_output().unwrap());
    let printed = stdout(&waiting.await.unwrap());
    let (now, before) = counts(&printed);
    assert_eq!(now + before, IMPORTED as u64, "{printed}");
    check_counted_once(&server);
}

async fn a_row_that_is_refused_is_corrected_and_gone_on_with(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let rows = |third| format!("sku,delta,kind\na,5,received\na,-3,damaged\na,{third},damaged\n");
    let told = refused(&server, &[&folder.write("a.csv", rows(-4))]);
    assert!(
        told.contains("line 4: ") && told.contains("INSUFFICIENT_STOCK"),
        "{told}"
    );
    let id = import_id(&told);
    assert_eq!(level(&client, "a").await.on_hand, 2);
    let corrected = folder.write("a.csv", rows(-2));
    let printed = stdout(&server.run(&["import", &corrected, "--import-id", &id]));
    assert_eq!(counts(&printed), (1, 2));
    let a = level(&client, "a").await;
    assert_eq!((a.on_hand, a.version), (0, 3));
}

async fn an_interrupted_import_says_how_to_go_on(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, IMPORTED).await;
    let importing = start(&server.url, &["import", &file]);
    some_are_counted(&server).await;
    signal(&importing, Signal::SIGINT);
    let output = importing.wait_with_output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("the same command goes on"), "{told}");
    stdout(&server.run(&["import", &file]));
    check_counted_once(&server);
}

async fn an_import_whose_file_changes_meanwhile_is_gone_on_with_by_its_id(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, IMPORTED).await;
    // Slow enough that most of the file is still to be read when it changes.
    let proxy = Proxy::before(server.addr()).await;
    proxy.set(Line::delayed(Duration::from_millis(300)));
    let importing = start(&format!("http://{}", proxy.addr), &["import", &file]);
    some_are_counted(&server).await;
    // An empty line is no row, and makes another file of it.
    let mut changing = OpenOptions::new().append(true).open(&file).unwrap();
    changing.write_all(b"\n").unwrap();
    let output = importing.wait_with_output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the file has changed since"), "{told}");
    assert!(!told.contains("the same command"), "{told}");
    let again = ["import", &file, "--import-id", &import_id(&told)];
    let printed = stdout(&server.run(&again));
    let (now, before) = counts(&printed);
    assert_eq!(now + before, IMPORTED as u64, "{printed}");
    check_counted_once(&server);
}

async fn an_export_that_is_killed_goes_on_after_its_last_whole_row(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, EXPORTED).await;
    stdout(&server.run(&["import", &file]));
    let client = server.client().await;
    for number in 0..30 {
        let more = received(&format!("more-{number}"), "sku-7", 1);
        client.adjust_stock(more).await.unwrap();
    }
    let whole = stdout(&server.run(&["export", "movements"]));
    assert_eq!(whole.lines().count(), 1 + EXPORTED + 30);

    // Slow enough to be killed on the way.
    let proxy = Proxy::before(server.addr()).await;
    proxy.set(Line::delayed(Duration::from_millis(30)));
    let (output, beside) = (folder.path("ledger.csv"), folder.path("ledger.csv.resume"));
    let name = output.display().to_string();
    let arguments = ["export", "movements", "--output", &name];
    let mut exporting = start(&format!("http://{}", proxy.addr), &arguments);
    eventually("some rows are written", async || {
        let state = fs::read(&beside).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
        state["rows"].as_u64().is_some_and(|rows| rows > 0)
    })
    .await;
    signal(&exporting, Signal::SIGKILL);
    assert!(!exporting.wait().unwrap().success(), "it was too fast");
    // A row that was torn.
    let mut torn = fs::read(&output).unwrap();
    torn.extend(b"sku-9,ma");
    fs::write(&output, torn).unwrap();

    let again = server.run(&arguments);
    assert!(
        said(&again).contains("--resume goes on"),
        "{}",
        said(&again)
    );
    let other = ["export", "levels", "--output", &name, "--resume"];
    let other = server.run(&other);
    assert!(said(&other).contains("other arguments"), "{}", said(&other));
    let begun = Instant::now();
    let resumed = server.run(&[&arguments[..], &["--resume"]].concat());
    assert!(
        said(&resumed).contains("going on after "),
        "{}",
        said(&resumed)
    );
    assert!(resumed.status.success() && begun.elapsed() < DEADLINE);
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
    assert!(!beside.exists());
    let again = server.run(&[&arguments[..], &["--resume"]].concat());
    assert!(said(&again).contains("is complete"), "{}", said(&again));
    stdout(&server.run(&[&arguments[..], &["--overwrite"]].concat()));
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
}

async fn a_level_that_is_new_meanwhile_makes_no_row_of_an_export_come_twice(store: StoreKind) {
    // Levels that an export asks for at a time.
    const PAGE: usize = 1_000;
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, 2 * PAGE + 500).await;
    stdout(&server.run(&["import", &file]));
    let whole = stdout(&server.run(&["export", "movements"]));
    assert_eq!(whole.lines().count(), 1 + 2 * PAGE + 500);
    // As one that was killed after the first page of levels leaves it.
    let header_and_page = whole.split_inclusive('\n').take(1 + PAGE);
    let written: String = header_and_page.collect();
    let skus = columns(&written, &[0]);
    let state = serde_json::json!({
        "selection": { "what": "movements", "sku_prefix": "", "level": null, "after": 0 },
        "place": { "page_token": "", "level": [skus.last(), "main", 1] },
        "bytes": written.len(),
        "rows": PAGE,
    });
    let output = folder.write("ledger.csv", &written);
    folder.write("ledger.csv.resume", state.to_string());
    // It comes before all others, and moves the last level of each page to the next one.
    stock(&server.client().await, "a", 5).await;
    let arguments = ["export", "movements", "--output", &output, "--resume"];
    let resumed = server.run(&arguments);
    stdout(&resumed);
    let told = said(&resumed);
    assert!(told.contains("going on after 1000 rows"), "{told}");
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
}

async fn an_export_that_was_killed_after_its_last_page_writes_no_row_again(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    stock(&server.client().await, "a", 5).await;
    for what in ["products", "levels"] {
        let whole = stdout(&server.run(&["export", what]));
        // The token of the first page, which is that after the last one, too.
        let state = serde_json::json!({
            "selection": { "what": what, "sku_prefix": "", "level": null, "after": 0 },
            "place": { "page_token": "", "done": true, "level": null },
            "bytes": whole.len(),
            "rows": 1,
        });
        let output = folder.write("whole.csv", &whole);
        let beside = folder.write("whole.csv.resume", state.to_string());
        let arguments = ["export", what, "--output", &output, "--resume"];
        stdout(&server.run(&arguments));
        assert_eq!(fs::read_to_string(&output).unwrap(), whole);
        assert!(!Path::new(&beside).exists());
    }
}

async fn an_export_to_a_full_disk_names_its_file_and_goes_on_when_there_is_room(store: StoreKind) {
    /// As little as a disk that is nearly full has left; a part of the file fits.
    const WITH_LITTLE_ROOM: &str = r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = many_levels(&server, &folder, EXPORTED).await;
    stdout(&server.run(&["import", &file]));
    let output = folder.path("export.csv");
    let name = output.display().to_string();
    let arguments = ["export", "levels", "--output", &name];
    let export = stockroom(
        Path::new("."),
        &[&arguments[..], &["--addr", &server.url]].concat(),
    );
    let mut limited = Command::new("sh");
    limited.args(["-c", WITH_LITTLE_ROOM]);
    limited.arg(export.get_program()).args(export.get_args());
    for (variable, _) in export.get_envs() {
        limited.env_remove(variable);
    }
    let ended = limited.output().unwrap();
    let told = said(&ended);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("cannot write {name}")), "{told}");
    assert!(told.contains("--resume goes on"), "{told}");
    stdout(&server.run(&[&arguments[..], &["--resume"]].concat()));
    let whole = stdout(&server.run(&["export", "levels"]));
    assert_eq!(fs::read_to_string(&output).unwrap(), whole);
}
