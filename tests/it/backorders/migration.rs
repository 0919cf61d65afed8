//! A store from before backorders: what is in it stays, and its products may get limits. And
//! a migration while others are at work.

use std::path::Path;

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{GetOrderRequest, OrderState};

use super::{put_limited, units};
use crate::api::{confirm, level, order};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::holds::read;

on_each_store! {
    a_store_from_before_keeps_what_it_has_and_takes_limits,
}

/// The first step that knows of limits.
const STEP: &str = "0009_backorder";

/// Ten units received, of which an order took three and a pending one holds two. `{u}` and
/// `{b}` stand for how a store writes UUIDs and bytes.
const CONTENTS: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold) VALUES ('a', 'A', 4), ('gone', 'Gone', 0);
INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
VALUES ('a', 'main', 7, 2, 3, 4, 30), ('gone', 'main', 0, 0, 1, 0, 10);
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us, order_id, request_id)
VALUES ('a', 'main', 1, 1, 10, 0, 10, 0, 10, NULL, 'in'), ('a', 'main', 2, 6, -3, 0, 7, 0, 20, {u}01', NULL),
       ('a', 'main', 3, 10, 0, 2, 7, 2, 30, {u}02', NULL), ('gone', 'main', 1, 7, 0, 0, 0, 0, 10, NULL, NULL);
INSERT INTO orders (order_id, request_id, state, lines, created_us, updated_us, version, expires_us) VALUES
({u}01', 'sold', 1, '[{\"sku\":\"a\",\"location\":\"main\",\"quantity\":3,\"version\":2}]', 20, 20, 1, NULL),
({u}02', 'held', 2, '[{\"sku\":\"a\",\"location\":\"main\",\"quantity\":2,\"version\":3}]', 30, 30, 1, 9000000000000000);
INSERT INTO hold (sku, location, expires_us, order_id, units, is_first)
VALUES ('a', 'main', 9000000000000000, {u}02', 2, true);
INSERT INTO request (request_id, fingerprint, order_id, sku, location, version) VALUES
('in', {b}, NULL, 'a', 'main', 1), ('sold', {b}, {u}01', NULL, NULL, NULL), ('held', {b}, {u}02', NULL, NULL, NULL);
UPDATE stock_level SET deleted = true WHERE sku = 'gone';
DELETE FROM product WHERE sku = 'gone';";

const FILED_POSTGRES: &str = "\
INSERT INTO movement_time
SELECT time_us, sku, location, version, ARRAY[sku], ARRAY[location], ARRAY[version - 1], ARRAY[version] FROM movement;";

const FILED_SQLITE: &str = "\
INSERT INTO movement_time (time_us, sku, location, version, after_version)
SELECT time_us, sku, location, version, version - 1 FROM movement;";

async fn run(database: &DatabaseConnection, sql: &str) {
    let done = database.execute_unprepared(sql).await;
    done.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Does the steps before `first`.
async fn do_steps_before(database: &DatabaseConnection, first: &str, folder: &str) {
    run(database, "CREATE TABLE seaql_migrations (version varchar NOT NULL PRIMARY KEY, applied_at bigint NOT NULL)").await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(folder);
    let mut steps: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    steps.sort();
    for step in steps {
        let name = step.file_stem().unwrap().to_str().unwrap();
        if name < first {
            run(database, &std::fs::read_to_string(&step).unwrap()).await;
            let done = format!("INSERT INTO seaql_migrations VALUES ('{name}', 0)");
            run(database, &done).await;
        }
    }
}

/// A store as the last version without limits has left it.
async fn from_before(store: StoreKind) -> std::sync::Arc<Home> {
    let home = Home::new(store);
    let (folder, url, uuid, bytes, filed) = match store {
        StoreKind::Sqlite => (
            "sqlite",
            format!("{}?mode=rwc", home.url()),
            "x'000000000000000000000000000000",
            "x'000102030405060708090a0b0c0d0e0f'",
            FILED_SQLITE,
        ),
        StoreKind::Postgres => (
            "postgres",
            home.url(),
            "'00000000-0000-0000-0000-0000000000",
            "'\\x000102030405060708090a0b0c0d0e0f'::bytea",
            FILED_POSTGRES,
        ),
    };
    let database = Database::connect(url).await.unwrap();
    do_steps_before(&database, STEP, folder).await;
    let bytes_of = |text: &str| text.replace("{u}", uuid).replace("{b}", bytes);
    run(&database, &bytes_of(CONTENTS)).await;
    run(&database, filed).await;
    database.close().await.unwrap();
    home
}

async fn a_store_from_before_keeps_what_it_has_and_takes_limits(store: StoreKind) {
    let home = from_before(store).await;
    let server = Stockroom::on(home, |_| {}).await;
    let there = level(&server.client, "a").await;
    assert_eq!((there.on_hand, there.reserved, there.version), (7, 2, 3));
    assert_eq!((there.backorder_limit, there.low_stock), (0, false));
    let sold = GetOrderRequest {
        key: Some(Key::RequestId("sold".to_owned())),
        with_movements: true,
        ..GetOrderRequest::default()
    };
    let sold = server.client.get_order(sold).await.unwrap();
    assert_eq!(sold.movements.len(), 1);
    let sold = sold.order.unwrap();
    assert_eq!((sold.lines[0].quantity, sold.lines[0].backordered), (3, 0));
    let more = server.client.create_order(order("more", &[("a", 6)])).await;
    assert_eq!(more.unwrap_err().reason, "INSUFFICIENT_STOCK");
    put_limited(&server.client, "a", 4).await;
    server
        .client
        .create_order(order("more", &[("a", 9)]))
        .await
        .unwrap();
    assert_eq!(units(&server.client, "a").await, (-2, 2, -4));
    let held = uuid::Uuid::from_u128(2).to_string();
    server
        .client
        .confirm_order(confirm("confirm", &held))
        .await
        .unwrap();
    let held = read(&server.client, &held).await.order.unwrap();
    assert_eq!(
        (held.state(), held.lines[0].backordered),
        (OrderState::Confirmed, 0)
    );
    assert_eq!(units(&server.client, "a").await, (-4, 0, -4));
    // What a deleted product left behind is there, too.
    put_limited(&server.client, "gone", 1).await;
    let back = level(&server.client, "gone").await;
    assert_eq!((back.version, back.backorder_limit), (2, 1));
}

mod while_others_work {
    use sea_orm::ConnectOptions;
    use stockroom::client::proto::ListMovementsRequest;
    use tokio::task::spawn_blocking;
    use tonic_health::pb::health_check_response::ServingStatus;

    use super::*;
    use crate::fixture::eventually;
    use crate::servers::postgres::psql;

    on_postgres! {
        a_migration_that_waits_for_a_long_read_stops_nobody,
        a_commit_of_a_server_before_movements_were_filed_is_filed_though_it_ends_later,
    }

    /// Who waits for a table or a row.
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";

    /// A session of its own.
    async fn session(home: &Home) -> DatabaseConnection {
        let mut options = ConnectOptions::new(home.url());
        options.max_connections(1);
        Database::connect(options).await.unwrap()
    }

    async fn a_migration_that_waits_for_a_long_read_stops_nobody(store: StoreKind) {
        let home = from_before(store).await;
        let report = session(&home).await;
        run(&report, "BEGIN; SELECT count(*) FROM stock_level").await;
        let server = Stockroom::not_ready(home.clone(), |_| {}).await;
        eventually("the migration waits", async || home.sql(WAITING) != "0").await;
        // Comes after the migration, and to a table that this one waits for.
        let read = "SET lock_timeout = '20s'; SELECT sum(on_hand) FROM stock_level";
        assert_eq!(home.sql(read), "7");
        run(&report, "COMMIT").await;
        server.wait_for_health(ServingStatus::Serving).await;
        report.close().await.unwrap();
    }

    /// Ten units received.
    const RECEIVED: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold) VALUES ('a', 'A', 0);
INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us)
VALUES ('a', 'main', 10, 0, 1, 0, 10);
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us, request_id)
VALUES ('a', 'main', 1, 1, 10, 0, 10, 0, 10, 'first');
INSERT INTO request (request_id, fingerprint, sku, location, version)
VALUES ('first', '\\x000102030405060708090a0b0c0d0e0f', 'a', 'main', 1);";

    /// Five more, as a server of that version commits them.
    const COMMIT: &str = "\
SELECT commit_batch(20, ARRAY['second'], ARRAY['\\x000102030405060708090a0b0c0d0e0f'::bytea], NULL,
    ARRAY['a'], ARRAY['main'], ARRAY[2], NULL, NULL, NULL, NULL, NULL, NULL,
    ARRAY['a'], ARRAY['main'], ARRAY[2], ARRAY[1::smallint], ARRAY[5], ARRAY[0], ARRAY[15], ARRAY[0],
    NULL, ARRAY['second'], NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    ARRAY['a'], ARRAY['main'], ARRAY[15], ARRAY[0], ARRAY[2], ARRAY[0], ARRAY[1])";

    async fn a_commit_of_a_server_before_movements_were_filed_is_filed_though_it_ends_later(
        store: StoreKind,
    ) {
        const FILES: &str = "0007_movements_by_time";
        let home = Home::new(store);
        let holder = session(&home).await;
        do_steps_before(&holder, FILES, "postgres").await;
        run(&holder, RECEIVED).await;
        // The commit is held up at its level, in the middle of the function as it was.
        run(&holder, "BEGIN; SELECT * FROM stock_level FOR UPDATE").await;
        let url = home.url();
        let committing = spawn_blocking(move || psql(&url, COMMIT));
        eventually("the commit waits", async || home.sql(WAITING) == "1").await;
        let server = Stockroom::not_ready(home.clone(), |_| {}).await;
        let is_done = format!("SELECT count(*) FROM seaql_migrations WHERE version = '{FILES}'");
        eventually("commits file", async || home.sql(&is_done) == "1").await;
        run(&holder, "COMMIT").await;
        let committed = committing.await.unwrap();
        assert!(committed.status.success(), "{committed:?}");
        server.wait_for_health(ServingStatus::Serving).await;
        let by_time = ListMovementsRequest::default();
        let listed = server.client.list_movements(by_time).await.unwrap();
        let versions = listed.movements.iter().map(|movement| movement.version);
        assert_eq!(versions.collect::<Vec<_>>(), [1, 2]);
        holder.close().await.unwrap();
    }
}
