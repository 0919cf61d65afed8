//! Exports that cannot be made: what is there stays as it is, and nothing lies beside it.

use std::fs;

use super::{Folder, said};
use crate::api::stock;
use crate::fixture::{Home, StoreKind};
use crate::process::{Server, run, stdout, stockroom};

on_each_store! {
    an_export_that_the_server_refuses_leaves_the_file_as_it_was,
    an_export_to_what_is_no_file_leaves_nothing_beside_it,
    an_export_to_a_dash_is_on_standard_output,
}

/// The names in the folder.
fn names(folder: &Folder) -> Vec<String> {
    let there = fs::read_dir(folder.0.path()).unwrap();
    let names = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

async fn an_export_that_the_server_refuses_leaves_the_file_as_it_was(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let file = folder.write("keep.csv", "mine");
    let new = folder.path("new.csv").display().to_string();
    for (asked, why) in [
        (&["levels", "--sku-prefix", "a b"][..], "INVALID_REQUEST"),
        (&["products", "--sku-prefix", "a b"], "INVALID_REQUEST"),
        (&["movements", "--sku-prefix", "a b"], "INVALID_REQUEST"),
        (&["movements", "--level", "unknown"], "SKU_NOT_FOUND"),
    ] {
        for to in [&["-o", &file, "--overwrite"][..], &["-o", &new]] {
            let output = server.run(&[&["export"], asked, to].concat());
            let told = said(&output);
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(told.contains(why) && !told.contains("--resume"), "{told}");
            assert_eq!(names(&folder), ["keep.csv"], "{asked:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        }
    }
}

async fn an_export_to_what_is_no_file_leaves_nothing_beside_it(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let inner = folder.path("inner");
    fs::create_dir(&inner).unwrap();
    let name = inner.display().to_string();
    for name in [&format!("{name}/"), &name] {
        let output = server.run(&["export", "levels", "-o", name, "--overwrite"]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("it is no file"), "{told}");
        assert_eq!(names(&folder), ["inner"]);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
    }
}

async fn an_export_to_a_dash_is_on_standard_output(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    stock(&server.client().await, "a", 5).await;
    let expected = stdout(&server.run(&["export", "levels"]));
    let arguments = ["export", "levels", "--addr", &server.url, "-o", "-"];
    assert_eq!(stdout(&run(folder.0.path(), &arguments)), expected);
    for flag in ["--resume", "--overwrite"] {
        let output = run(folder.0.path(), &[&arguments[..], &[flag]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("go with a file"));
    }
    assert!(names(&folder).is_empty());
}

#[test]
fn a_file_is_not_touched_when_nobody_answers() {
    let folder = Folder::new();
    let file = folder.write("levels.csv", "mine");
    for flag in ["--overwrite", "--resume"] {
        let arguments = ["export", "levels", "-o", &file, flag];
        let addr = ["--addr", "http://127.0.0.1:1"];
        let output = stockroom(folder.0.path(), &[&arguments[..], &addr].concat());
        let output = { output }.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}
