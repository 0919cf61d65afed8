//! A copy of SQLite's file that is made while orders run, and the store that it becomes, as
//! README says. (What becomes of PostgreSQL's is in `replicas::failover`.)

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, Database};
use stockroom::client::proto::WatchStockRequest;

use crate::api::{order, stock};
use crate::fixture::{Home, Stockroom, StoreKind, eventually, run_on};
use crate::process::{run, stdout};
use crate::watching::{Watcher, everything, watch_of};

#[test]
fn a_copy_made_while_orders_run_is_the_store_at_one_moment() {
    run_on(StoreKind::Sqlite, copied_and_restored);
}

const CALLERS: usize = 8;

/// Orders before the copy begins, and again before the store is given up.
const ORDERS_MIN: usize = 50;

async fn copied_and_restored(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000_000).await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("stockroom.db");
    let mut watcher = Watcher::synced(&server, watch_of(vec![everything()])).await;
    let (made, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let selling = join_all((0..CALLERS).map(|caller| {
        let (client, made, is_over) = (&server.client, &made, &is_over);
        async move {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let request = order(&format!("o-{caller}-{n}"), &[("a", 1)]);
                client.create_order(request.clone()).await.unwrap();
                made.lock().unwrap().push(request);
            }
        }
    }));
    let count = || made.lock().unwrap().len();
    let copying = async {
        eventually("orders run", async || count() >= ORDERS_MIN).await;
        let before = count();
        let database = Database::connect(server.home.url()).await.unwrap();
        let vacuum = format!("VACUUM INTO '{}'", copy.display());
        database.execute_unprepared(&vacuum).await.unwrap();
        database.close().await.unwrap();
        let after = count();
        eventually("orders run on", async || count() >= after + ORDERS_MIN).await;
        is_over.store(true, Ordering::Relaxed);
        before
    };
    let (before, _) = tokio::join!(copying, selling);
    let made = made.into_inner().unwrap();
    watcher.until("a", 1 + made.len() as i64).await;
    drop(server);

    let restored = Arc::new(Home::Sqlite { folder });
    let books = restored.books();
    assert!(books.balanced(), "{books:#?}");
    let copied = books.orders;
    let made_then = before as i64..made.len() as i64;
    assert!(made_then.contains(&copied), "{copied} of {made_then:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let migrate = ["migrate", "--new-store-id", "--store-url", &restored.url()];
    stdout(&run(elsewhere.path(), &migrate));
    let server = Stockroom::on(restored, |_| {}).await;
    let resumed = WatchStockRequest {
        seen: watcher.seen(),
        store_id: watcher.started.store_id.clone(),
        ..watch_of(vec![everything()])
    };
    let resumed = Watcher::synced(&server, resumed).await;
    assert_eq!(
        (resumed.versions(), resumed.resets),
        (vec![("a", 1 + copied)], 1)
    );
    // What was answered before the copy began is in it. What is not in it is free again.
    let mut replayed = 0;
    for (place, request) in made.into_iter().enumerate() {
        let answer = server.client.create_order(request).await.unwrap();
        assert!(answer.replayed || place >= before, "it was lost");
        replayed += i64::from(answer.replayed);
    }
    assert_eq!(replayed, copied);
}
