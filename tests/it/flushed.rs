//! An OK of SQLite means that the order is on disk: every commit waits for its flush. (What
//! PostgreSQL is told is in `interference`.)
//!
//! Nobody can pull the plug here. So each transaction writes down, itself, how it is going
//! to be committed, on the connection that does so.

use sea_orm::{ConnectionTrait as _, Database, Statement};

use crate::api::{order, put, stock, transfer};
use crate::fixture::{Stockroom, StoreKind, run_on};

#[test]
fn what_is_answered_ok_is_flushed_first() {
    run_on(
        StoreKind::Sqlite,
        transactions_that_write_down_how_they_commit,
    );
}

/// 2 is FULL, with which a commit in WAL mode ends with a flush
/// (<https://sqlite.org/pragma.html#pragma_synchronous>).
const FLUSHED: &str = "synchronous 2, wal";

const WRITE_DOWN: &str = "\
CREATE TABLE commits (manner TEXT);
CREATE TRIGGER of_requests AFTER INSERT ON request BEGIN
    INSERT INTO commits
    SELECT 'synchronous ' || synchronous || ', ' || journal_mode FROM pragma_synchronous, pragma_journal_mode;
END;
CREATE TRIGGER of_products AFTER INSERT ON product BEGIN
    INSERT INTO commits
    SELECT 'synchronous ' || synchronous || ', ' || journal_mode FROM pragma_synchronous, pragma_journal_mode;
END";

async fn transactions_that_write_down_how_they_commit(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let client = &server.client;
    stock(client, "a", 100).await;
    let database = Database::connect(server.home.url()).await.unwrap();
    database.execute_unprepared(WRITE_DOWN).await.unwrap();
    put(client, "b", 0).await;
    client.create_order(order("o", &[("a", 1)])).await.unwrap();
    let moved = transfer("t", "main", "york", &[("a", 1)]);
    client.transfer_stock(moved).await.unwrap();
    let all = "SELECT manner FROM commits";
    let all = Statement::from_string(database.get_database_backend(), all);
    let rows = database.query_all_raw(all).await.unwrap();
    let manners = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    assert_eq!(manners.collect::<Vec<String>>(), [FLUSHED; 3]);
    database.close().await.unwrap();
}
