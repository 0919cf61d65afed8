//! The commands for people who have no grpcurl at hand.

use stockroom::client::proto::{Product, PutProductsRequest};

use crate::api::{cancel, counted, hold_of, order, product, put, received, stock};
use crate::fixture::{Home, StoreKind};
use crate::process::{Server, run, stdout};

on_each_store! {
    stock_is_shown_and_adjusted,
    stock_is_counted_and_moved,
    an_order_is_placed_and_read_back,
    a_product_without_stock_is_deleted,
    validate_only_says_what_would_be_and_changes_nothing,
    what_fails_says_why_with_exit_code_1,
    what_somebody_wrote_stays_in_its_line_and_moves_no_cursor,
}

/// A command line as arguments.
fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

/// What a command prints, one row of words a line.
fn rows(server: &Server, arguments: &[&str]) -> Vec<String> {
    let printed = stdout(&server.run(arguments));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    printed.lines().map(words).collect()
}

async fn stock_is_shown_and_adjusted(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    put(&client, "85123A", 10).await;
    put(&client, "85123B", 0).await;
    let listed = rows(&server, &["products", "--sku-prefix", "85123A"]);
    assert_eq!(listed, ["SKU LOW AT BACKORDERS NAME", "85123A 10 0"]);
    let heading = "SKU LOCATION ON HAND RESERVED AVAILABLE VERSION CHANGED";
    let bare = rows(&server, &["get", "85123A", "85123B@york"]);
    let zeros = ["85123A main 0 0 0 0 - LOW", "85123B york 0 0 0 0 -"];
    assert_eq!(bare, [&[heading], &zeros[..]].concat());

    let received = "adjust 85123A --delta 100 --kind received --request-id delivery-1";
    let received: Vec<_> = received.split(' ').collect();
    for _ in 0..2 {
        let level = rows(&server, &received);
        assert!(
            level[1].starts_with("85123A main 100 0 100 1 "),
            "{level:?}"
        );
    }
    let broken = "adjust 85123A --delta -3 --kind damaged --note fell";
    rows(&server, &broken.split(' ').collect::<Vec<_>>());
    let counted = "adjust 85123A --on-hand 5 --kind count --expected-version 2";
    let level = rows(&server, &counted.split(' ').collect::<Vec<_>>());
    assert!(level[1].starts_with("85123A main 5 0 5 3 "), "{level:?}");
    assert!(level[1].ends_with(" LOW"), "{level:?}");

    let history = rows(&server, &["movements", "85123A", "--after", "1"]);
    assert_eq!(history.len(), 3);
    assert!(history[1].starts_with("85123A main 2 DAMAGED -3 97 +0 0 "));
    assert!(history[1].ends_with(" \"fell\""), "{history:?}");
    assert!(history[2].starts_with("85123A main 3 COUNT -92 5 +0 0 "));
}

async fn stock_is_counted_and_moved(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    stock(&server.client().await, "85123A", 100).await;
    let count = "count 85123A --on-hand 97 --expected-version 1 --request-id c-1";
    for _ in 0..2 {
        let level = rows(&server, &count.split(' ').collect::<Vec<_>>());
        assert!(level[1].starts_with("85123A main 97 0 97 2 "), "{level:?}");
    }
    let moved = rows(&server, &["transfer", "85123A=40", "--to", "york"]);
    assert!(moved[1].starts_with("85123A main 57 0 57 3 "), "{moved:?}");
    assert!(moved[2].starts_with("85123A york 40 0 40 1 "), "{moved:?}");
    let history = rows(&server, &["movements", "85123A@york"]);
    assert!(history[1].starts_with("85123A york 1 TRANSFERRED_IN +40 40 "));
    assert!(history[1].ends_with(" from main version 3"), "{history:?}");
    let history = rows(&server, &["movements", "85123A", "--after", "2"]);
    assert!(history[1].ends_with(" to york version 1"), "{history:?}");
    let ledger = ["export", "movements", "--level", "85123A", "--after", "2"];
    let ledger = rows(&server, &ledger);
    assert!(ledger[1].ends_with(",york,1"), "{ledger:?}");
}

async fn an_order_is_placed_and_read_back(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    stock(&client, "85123A", 100).await;
    let mut york = counted("york", "85123A", 5);
    york.location = "york".to_owned();
    client.adjust_stock(york).await.unwrap();
    let place =
        "order 85123A=6 85123A@york --request-id cart-1 --customer-ref c-42 --label channel=web";
    let placed = rows(&server, &place.split(' ').collect::<Vec<_>>());
    let id = placed[0].strip_prefix("order ").unwrap().to_owned();
    assert_eq!(placed[1..3], ["request cart-1", "state CONFIRMED"]);
    let rest = [
        "customer c-42",
        "label channel=web",
        "line 85123A@main 6 version 2",
        "line 85123A@york 1 version 2",
    ];
    assert_eq!(placed[4..], rest);
    let anonymous = rows(&server, &["order", "85123A"]);
    assert_eq!(anonymous[4..], ["line 85123A@main 1 version 3"]);

    for asked in [["--id", &*id], ["--request-id", "cart-1"]] {
        let shown = rows(&server, &["orders", asked[0], asked[1]]);
        assert_eq!(shown[..placed.len()], placed);
        let changed = &shown[placed.len() + 2..];
        assert!(changed[0].starts_with("85123A main 2 ORDERED -6 94 "));
        assert!(changed[1].starts_with("85123A york 2 ORDERED -1 4 "));
    }
    let shown = rows(&server, &["movements", "--order", &id]);
    assert_eq!(shown.len(), 3);
    let ours = ["--customer-ref", "c-42", "--label", "channel=web"];
    let listed = rows(&server, &[&["orders"], &ours[..]].concat());
    assert_eq!(listed.len(), 2);
    assert!(listed[1].starts_with(&id) && listed[1].ends_with("CONFIRMED 2 7 c-42"));
    let newest = rows(&server, &["orders", "--limit", "1"]);
    assert!(newest[1].ends_with("CONFIRMED 1 1"), "{newest:?}");
    assert_eq!(newest.len(), 2);
    for (flag, orders) in [("--since", 2), ("--until", 0)] {
        let listed = rows(&server, &["orders", flag, "2020-02-29T12:00:00Z"]);
        assert_eq!(listed.len(), 1 + orders, "{flag}");
    }
    let of_york = rows(&server, &["orders", "--level", "85123A@york"]);
    assert!(of_york.len() == 2 && of_york[1].starts_with(&id));
}

async fn what_fails_says_why_with_exit_code_1(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    stock(&server.client().await, "a", 1).await;
    for (command, why) in [
        ("get unknown", "SKU_NOT_FOUND"),
        ("order a=2", "INSUFFICIENT_STOCK"),
        ("orders --request-id nobody", "ORDER_NOT_FOUND"),
        (
            "order a --label k=1 --label k=2",
            "--label k must come once",
        ),
        ("orders --label k=1 --label k=2", "--label k must come once"),
        (
            "adjust a --on-hand 7 --kind count --expected-version 9",
            "VERSION_MISMATCH",
        ),
        (
            "count a --on-hand 7 --expected-version 9",
            "VERSION_MISMATCH",
        ),
        ("transfer a=2 --to york", "INSUFFICIENT_STOCK"),
        ("movements a --after -1", "INVALID_REQUEST"),
    ] {
        let arguments: Vec<_> = command.split(' ').collect();
        let output = server.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains(why), "{command}: {said}");
        assert!(!said.contains("may have been done"), "{command}: {said}");
    }
}

async fn a_product_without_stock_is_deleted(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    stock(&server.client().await, "lamp", 1).await;
    let fails = |command: &str, why: &str| {
        let output = server.run(&words(command));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains(why), "{command}: {said}");
    };
    fails("delete-product lamp", "STOCK_REMAINS");
    fails("delete-product lamp --validate-only", "STOCK_REMAINS");
    rows(&server, &words("adjust lamp --delta=-1 --kind damaged"));
    for (command, printed, left) in [
        (
            "delete-product lamp --validate-only",
            "lamp can be deleted",
            1,
        ),
        ("delete-product lamp", "lamp is deleted", 0),
    ] {
        assert_eq!(rows(&server, &words(command)), [printed]);
        assert_eq!(rows(&server, &["products"]).len(), 1 + left);
    }
    fails("delete-product lamp", "SKU_NOT_FOUND");
    let history = rows(&server, &["movements", "lamp", "--after", "2"]);
    assert!(
        history[1].starts_with("lamp main 3 DELETED "),
        "{history:?}"
    );
}

async fn validate_only_says_what_would_be_and_changes_nothing(store: StoreKind) {
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    stock(&client, "a", 10).await;
    let mut request = order("held", &[("a", 2)]);
    request.hold = Some(hold_of(600));
    let held = client.create_order(request).await.unwrap().order.unwrap();
    let id = &held.order_id;
    let state = || {
        let everything = ["get a a@york", "orders", "export movements", "products"];
        let read = everything.map(|command| rows(&server, &words(command)));
        (read, rows(&server, &["orders", "--id", id]))
    };
    let before = state();
    let confirm = format!("confirm {id}");
    let cancel = format!("cancel {id} --reason twice");
    let extend = format!("extend {id} --hold 2h");
    let now = held.expire_time.unwrap().to_string();
    for (command, expected) in [
        (
            "order a=3",
            &["state CONFIRMED", "line a@main 3 version 3"][..],
        ),
        (
            "order a=3 --hold 5m",
            &["state PENDING", "line a@main 3 version 3"],
        ),
        (&confirm, &["state CONFIRMED", "line a@main 2 version 3"]),
        (&cancel, &["state CANCELLED", "line a@main 2 version 3"]),
        (&extend, &["state PENDING", "line a@main 2 version 2"]),
        (
            "count a --on-hand 9 --expected-version 2",
            &["a main 9 2 7 3 "],
        ),
        (
            "transfer a=4 --to york",
            &["a main 6 2 4 3 ", "a york 4 0 4 1 "],
        ),
        ("adjust a --delta 5 --kind received", &["a main 15 2 13 3 "]),
    ] {
        let in_earnest = format!("{command} --request-id try");
        let told = rows(&server, &words(&format!("{in_earnest} --validate-only")));
        for row in expected {
            let is_there = told.iter().any(|line| line.starts_with(row));
            assert!(is_there, "{command}: no {row:?} in {told:?}");
        }
        if command == extend {
            let until = told
                .iter()
                .find_map(|line| line.strip_prefix("held until "));
            assert!(until.unwrap() > now.as_str(), "{told:?}");
        }
        assert_eq!(state(), before, "{command}");
    }
    // Nor was the request_id used up.
    let made = rows(&server, &words("order a=3 --request-id try"));
    assert!(made.contains(&"request try".to_owned()), "{made:?}");
}

async fn what_somebody_wrote_stays_in_its_line_and_moves_no_cursor(store: StoreKind) {
    /// As if it were a line of its own, and clears the screen.
    const WRITTEN: &str = "x\nforged\u{1b}[2J";
    const SHOWN: &str = r"x\nforged\u{1b}[2J";
    let server = Server::start(Home::new(store)).await;
    let client = server.client().await;
    let named = Product {
        display_name: WRITTEN.to_owned(),
        ..product("a", 0)
    };
    let request = PutProductsRequest {
        products: vec![named],
        ..PutProductsRequest::default()
    };
    client.put_products(request).await.unwrap();
    let mut delivery = received("delivery", "a", 10);
    delivery.note = WRITTEN.to_owned();
    client.adjust_stock(delivery).await.unwrap();
    let mut request = order("cart", &[("a", 1)]);
    request.customer_ref = WRITTEN.to_owned();
    request.labels.insert("k".to_owned(), WRITTEN.to_owned());
    let made = client.create_order(request).await.unwrap().order.unwrap();
    let mut back = cancel("back", &made.order_id);
    back.reason = WRITTEN.to_owned();
    client.cancel_order(back).await.unwrap();
    for (command, shown) in [
        (&["products"][..], &[""][..]),
        (&["movements", "a"], &["\""]),
        (&["orders"], &[""]),
        (
            &["orders", "--request-id", "cart"],
            &["reason     ", "customer   ", "label      k="],
        ),
        (&["order", "a", "--customer-ref", WRITTEN], &["customer   "]),
    ] {
        let printed = stdout(&server.run(command));
        for before in shown {
            assert!(printed.contains(&format!("{before}{SHOWN}")), "{printed:?}");
        }
        let is_clean = |line: &str| !line.contains(char::is_control);
        assert!(printed.lines().all(is_clean), "{printed:?}");
    }
}

#[test]
fn an_empty_request_id_is_refused_and_not_replaced_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "adjust a --delta 1 --kind received",
        "count a --on-hand 1 --expected-version 1",
        "transfer a=1 --to york",
        "order a",
        "confirm o",
        "extend o --hold 1m",
        "cancel o",
    ] {
        let arguments = [&words(command)[..], &["--request-id", ""]].concat();
        let output = run(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        let why = "a value is required for '--request-id <ID>'";
        assert!(said.contains(why), "{command}: {said}");
    }
}

#[test]
fn an_address_that_cannot_be_called_is_refused_for_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for (addr, why) in [
        ("https://127.0.0.1:1", "this client has no TLS"),
        ("http://127.0.0.1:1/stock", "no path or query"),
        ("http://127.0.0.1:99999", "its port must be 1 to 65535"),
    ] {
        for command in ["products", "health", "load --skus 1"] {
            let arguments = [&words(command)[..], &["--addr", addr]].concat();
            let output = run(folder.path(), &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            assert!(said.contains(why), "{command}: {said}");
            assert!(!said.contains("is `stockroom serve` running"), "{said}");
        }
    }
}
