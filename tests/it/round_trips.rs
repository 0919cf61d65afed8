//! What a transaction asks of the network: as many round trips as it has statements.

use std::time::Duration;

use stockroom::config::StoreConfig;
use stockroom::domain::{LevelKey, Location, Sku};
use stockroom::storage::{Access, Store, Verdict};

use crate::fixture::{Home, StoreKind, eventually};
use crate::proxy::{Action, Place, Proxy};

on_postgres! { a_transaction_takes_no_more_round_trips_than_it_has_statements }

async fn a_transaction_takes_no_more_round_trips_than_it_has_statements(store: StoreKind) {
    /// BEGIN, the levels, the product of one that has no row, ROLLBACK.
    const STATEMENTS: usize = 4;
    const HELD: &str = "SELECT query FROM pg_stat_activity \
        WHERE datname = current_database() AND state = 'idle in transaction'";
    let home = Home::migrated(store);
    let proxy = Proxy::before_database_of(&home).await;
    let config = StoreConfig {
        url: proxy.url(&home),
        ..home.store_config()
    };
    let store = Store::open(&config, Access::Write).await.unwrap();
    let keys = [LevelKey {
        sku: Sku::new("a").unwrap(),
        location: Location::new("main").unwrap(),
    }];
    let lock = async || {
        let locked = store.transaction(async |tx| {
            tx.lock_levels(&keys).await?;
            Ok(Verdict::Leave(()))
        });
        locked.await.unwrap();
    };
    // On a busy machine a connection may idle for so long that it is tested.
    eventually("two transactions take as many", async || {
        lock().await;
        let mut strike = proxy.arm(2 * STATEMENTS - 1, Place::Before, Action::Hold);
        lock().await;
        let look = async {
            strike.struck().await;
            let last = home.sql(HELD);
            strike.release(Action::Delay(Duration::ZERO));
            last
        };
        let ((), last) = tokio::join!(lock(), look);
        last.contains("JOIN product")
    })
    .await;
    store.close().await;
}
