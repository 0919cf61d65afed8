//! `stockroom import` and `stockroom export`.

mod interrupted;
mod pieces;
mod piped;
mod untouched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::api::{level, order, put};
use crate::backorders::put_limited;
use crate::fixture::{Home, StoreKind};
use crate::process::{Server, stdout, stockroom};

on_each_store! {
    what_was_exported_makes_an_empty_store_the_same,
    every_bad_row_is_told_before_anything_is_written,
    unknown_skus_are_told_before_anything_is_written,
    adjustments_are_made_in_their_order_and_once,
    what_is_owed_is_imported_only_where_it_is_owed_already,
}

/// A folder for files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `import FILE` must fail, and say so.
fn refused(server: &Server, arguments: &[&str]) -> String {
    let output = server.run(&[&["import"], arguments].concat());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Rows imported now, and before.
fn counts(printed: &str) -> (u64, u64) {
    let printed = printed.replace(',', "");
    let words: Vec<&str> = printed.split_whitespace().collect();
    let before = |word| words.iter().position(|w| *w == word).unwrap() - 1;
    let number = |word| words[before(word)].parse().unwrap();
    (number("imported"), number("before"))
}

/// The id by which an import that is not complete says that it is gone on with.
fn import_id(told: &str) -> String {
    let id = told.split("--import-id ").nth(1).unwrap();
    id.split_whitespace().next().unwrap().to_owned()
}

/// The file's cells in these columns, row by row.
fn columns(text: &str, columns: &[usize]) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).from_reader(text.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    let cells = rows.map(|row| columns.iter().map(|i| row[*i].to_owned()).collect());
    cells.map(|cells: Vec<_>| cells.join("|")).collect()
}

async fn what_was_exported_makes_an_empty_store_the_same(store: StoreKind) {
    let folder = Folder::new();
    let products = "\u{feff}low_stock_threshold,sku,display_name,backorder_limit\r\n\
        3,b,\"a \"\"quoted\"\", name\",20\r\n\
        ,a,'=not one,\r\n\
        0,C-1,=1+1,0\r\n\
        7,d,\"two\nlines, grün\",1\r\n";
    let products = folder.write("products.csv", products);
    let levels = "sku,on_hand,location\nb,5,\na,12,york\na,0,main\nC-1,1000000000000,x\n";
    let levels = folder.write("levels.csv", levels);
    let first = Server::start(Home::new(store)).await;
    for (file, rows) in [(&products, 4), (&levels, 4)] {
        let printed = stdout(&first.run(&["import", file]));
        assert_eq!(counts(&printed), (rows, 0), "{printed}");
    }
    let client = first.client().await;
    client.create_order(order("o", &[("b", 2)])).await.unwrap();
    let export = |server: &Server, what: &str| stdout(&server.run(&["export", what]));
    let (products, levels) = (export(&first, "products"), export(&first, "levels"));
    assert_eq!(
        products,
        "sku,display_name,low_stock_threshold,backorder_limit\n\
         C-1,'=1+1,0,0\n\
         a,'=not one,0,0\n\
         b,\"a \"\"quoted\"\", name\",3,20\n\
         d,\"two\nlines, grün\",7,1\n"
    );
    let expected = ["sku|location|on_hand|reserved|available|version"];
    let rows = [
        "C-1|x|1000000000000|0|1000000000000|1",
        "a|main|0|0|0|1",
        "a|york|12|0|12|1",
        "b|main|3|0|3|2",
    ];
    assert_eq!(
        columns(&levels, &[0, 1, 2, 3, 4, 5]),
        [&expected, &rows[..]].concat()
    );

    let second = Server::start(Home::new(store)).await;
    for (name, text) in [("p.csv", &products), ("l.csv", &levels)] {
        let file = folder.write(name, text);
        stdout(&second.run(&["import", &file]));
    }
    assert_eq!(export(&second, "products"), products);
    let again = export(&second, "levels");
    assert_eq!(
        columns(&again, &[0, 1, 2, 3, 4]),
        columns(&levels, &[0, 1, 2, 3, 4])
    );

    let ledger = export(&first, "movements");
    assert_eq!(
        columns(&ledger, &[0, 1, 2, 3, 4, 6]),
        [
            "sku|location|version|kind|on_hand_delta|on_hand",
            "C-1|x|1|COUNT|1000000000000|1000000000000",
            "a|main|1|COUNT|0|0",
            "a|york|1|COUNT|12|12",
            "b|main|1|COUNT|5|5",
            "b|main|2|ORDERED|-2|3",
        ]
    );
    let since = ["export", "movements", "--level", "b", "--after", "1"];
    let since = stdout(&first.run(&since));
    assert_eq!(columns(&since, &[2, 3])[1..], ["2|ORDERED"]);
    let ledger = folder.write("ledger.csv", ledger);
    assert!(refused(&second, &[&ledger]).contains("never rewritten"));
}

async fn every_bad_row_is_told_before_anything_is_written(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    put(&server.client().await, "a", 0).await;
    let long = "x".repeat(65);
    let mut file = format!(
        "sku,location,on_hand,note\n\
         a,main,1,good\n\
         a b,,1,\n\
         {long},y/z,-1000000001,\n\
         a,york,two,\n\
         a,leeds,1000000000001,{}\n\
         a,\"ne\nw\",1,\n\
         a,,3,\n\
         a,x\n",
        "n".repeat(513),
    )
    .into_bytes();
    file.extend(b"a,z,1,\xff\n");
    let file = folder.write("levels.csv", file);
    let told = refused(&server, &[&file]);
    for problem in [
        "11 problems:",
        "line 3, sku: must be of A-Z a-z 0-9 . _ -, has ' '",
        "line 4, sku: must have 1 to 64 characters, has 65",
        "line 4, location: must be of A-Z a-z 0-9 . _ -, has '/'",
        "line 4, on_hand: must be -1000000000 to 1000000000000, is \"-1000000001\"",
        "line 5, on_hand: must be -1000000000 to 1000000000000, is \"two\"",
        "line 6, on_hand: must be -1000000000 to 1000000000000, is \"1000000000001\"",
        "line 6, note: must have at most 512 bytes, has 513",
        "line 7, location: must be of",
        "line 9, sku: must come once, is in line 2 already",
        "line 10: must have 4 cells, has 2",
        "line 11, note: must be UTF-8",
    ] {
        assert!(told.contains(problem), "{problem:?} is not in {told}");
    }
    let adjustments = "delta,kind,sku\n0,RECEIVED,a\n1,ORDERED,a\n1000000001,count,a\n";
    let told = refused(&server, &[&folder.write("adjustments.csv", adjustments)]);
    for problem in [
        "3 problems:",
        "line 2, delta: must be -1000000000 to 1000000000 and not 0, is 0",
        "line 3, kind: must be RECEIVED, RETURNED, DAMAGED, COUNT or CORRECTION",
        "line 4, delta: must be -1000000000 to 1000000000, is \"1000000001\"",
    ] {
        assert!(told.contains(problem), "{problem:?} is not in {told}");
    }
    let many = format!("sku\n{}", "b ad\n".repeat(1_234));
    let told = refused(&server, &[&folder.write("products.csv", many)]);
    assert!(told.contains("1234 problems:"), "{told}");
    assert!(told.contains("line 1001, sku: ") && !told.contains("line 1002"));
    assert!(told.contains("and 234 more"), "{told}");
    // A quote that is left open does not take the rest of the file for a cell.
    let open = format!("sku,display_name\na,\"{}", "b,c\n".repeat(100_000));
    let told = refused(&server, &[&folder.write("open.csv", open)]);
    assert!(
        told.contains("line 2: ") && told.contains("quote"),
        "{told}"
    );
    assert_eq!(
        server
            .client()
            .await
            .list_stock(Default::default())
            .await
            .unwrap()
            .levels,
        []
    );
}

async fn unknown_skus_are_told_before_anything_is_written(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    put(&server.client().await, "a", 0).await;
    let mut file = String::from("sku,delta,kind\n");
    for row in 2..=1_500 {
        let sku = if row % 500 == 0 { "nobody" } else { "a" };
        file += &format!("{sku},1,received\n");
    }
    // They are looked up once all else is good.
    let bad = folder.write("bad.csv", format!("{file}a,none,received\n"));
    let told = refused(&server, &[&bad]);
    assert!(
        told.contains("line 1501, delta: ") && !told.contains("nobody"),
        "{told}"
    );
    let file = folder.write("adjustments.csv", file);
    let told = refused(&server, &[&file]);
    for line in [500, 1_000, 1_500] {
        let problem = format!("line {line}, sku: nobody is no product of this store");
        assert!(told.contains(&problem), "{told}");
    }
    assert!(told.contains("3 problems:"), "{told}");
    assert_eq!(level(&server.client().await, "a").await.version, 0);
}

async fn adjustments_are_made_in_their_order_and_once(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "a", 0).await;
    let file = "sku,delta,kind,note\na,10,received,\na,-10,damaged,fell\na,3,Returned,\n";
    let file = folder.write("adjustments.csv", file);
    let checked = stdout(&server.run(&["import", &file, "--check"]));
    assert!(checked.contains("nothing was written"), "{checked}");
    assert_eq!(level(&client, "a").await.version, 0);
    for expected in [(3, 0), (0, 3)] {
        let printed = stdout(&server.run(&["import", &file]));
        assert_eq!(counts(&printed), expected, "{printed}");
        let a = level(&client, "a").await;
        assert_eq!((a.on_hand, a.version), (3, 3));
    }
    // The same bytes as another import are another import; from standard input, too.
    let mut piped = stockroom(Path::new("."), &["import", "-", "--addr", &server.url]);
    let again = piped.args(["--import-id", "second"]);
    let again = again
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert_eq!(counts(&stdout(&again)), (3, 0));
    assert_eq!(level(&client, "a").await.version, 6);
}

async fn what_is_owed_is_imported_only_where_it_is_owed_already(store: StoreKind) {
    let folder = Folder::new();
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put_limited(&client, "a", 5).await;
    client.create_order(order("o", &[("a", 3)])).await.unwrap();
    let export = |what: &str| {
        let text = stdout(&server.run(&["export", what]));
        folder.write(&format!("{what}.csv"), text)
    };
    let (products, levels) = (export("products"), export("levels"));
    let counted = stdout(&server.run(&["import", &levels]));
    assert_eq!(counts(&counted), (1, 0), "{counted}");
    assert_eq!(level(&client, "a").await.on_hand, -3);
    let less = folder.write("less.csv", "sku,backorder_limit\na,2\n");
    let told = refused(&server, &[&less]);
    assert!(told.contains("line 2: BACKORDERS_REMAIN"), "{told}");

    let another = Server::start(Home::new(store)).await;
    stdout(&another.run(&["import", &products]));
    let told = refused(&another, &[&levels]);
    assert!(told.contains("line 2: INSUFFICIENT_STOCK"), "{told}");
    let there = level(&another.client().await, "a").await;
    assert_eq!((there.version, there.backorder_limit), (0, 5));
}
