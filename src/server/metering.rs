//! The metrics that nobody counts: looked up again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock;
use crate::error::chain;
use crate::storage::{SchemaState, Store};
use crate::telemetry::{Counters, SaidOnce};

/// How often the use of connections is sampled, and a schema that is not there yet looked for.
const POOLS_INTERVAL: Duration = Duration::from_secs(1);

/// How often all levels are read to see that none is impossible, at most: a million of them
/// take a tenth of a second, and a million orders that may be on hold a second or two.
const BOOKS_INTERVAL: Duration = Duration::from_secs(60);

/// It is at rest for so many times as long as it takes, where that is longer.
const BOOKS_SHARE: u32 = 50;

/// Keeps the metrics true that nobody counts: the use of connections, and whether
/// there are levels that cannot be.
pub(super) async fn look_after_forever(store: Store, counters: Arc<Counters>) {
    // Beside each other: the books may take seconds.
    tokio::join!(
        sample_pools_forever(&store, &counters),
        check_books_forever(&store, &counters)
    );
}

async fn sample_pools_forever(store: &Store, counters: &Counters) {
    loop {
        let (writer, reader) = store.pools();
        for (gauges, usage) in [
            (&counters.pools.writer, writer),
            (&counters.pools.reader, reader),
        ] {
            gauges.in_use.set(usage.in_use.into());
            gauges.idle.set(usage.idle.into());
            gauges.waiting.set(usage.waiting.into());
        }
        count_replicas(store, counters);
        sleep(POOLS_INTERVAL).await;
    }
}

async fn check_books_forever(store: &Store, counters: &Counters) {
    // A database that is away at the start, or has no schema yet, is told by `keep_ready`.
    while !matches!(store.schema_state().await, Ok(SchemaState::Current)) {
        sleep(POOLS_INTERVAL).await;
    }
    let mut checking = SaidOnce::default();
    loop {
        let began = Instant::now();
        match store.find_level_faults().await {
            Ok(faults) => {
                let (negative, mismatch) = (faults.negative, faults.reserved_without_hold);
                counters.books.set(negative, mismatch, clock::now());
                checking.succeeded();
            }
            // The gauges still say what the last check found, and when that was.
            Err(error) if checking.failed() => {
                tracing::warn!(error = chain(&error), "the books cannot be checked");
            }
            Err(_) => {}
        }
        sleep(BOOKS_INTERVAL.max(began.elapsed() * BOOKS_SHARE)).await;
    }
}

/// Tells the metrics of replicas what the store knows of them.
fn count_replicas(store: &Store, counters: &Counters) {
    for replica in store.replicas() {
        let metrics = counters.replica(&replica.name);
        metrics.serves.set(replica.serves.into());
        let lag_us = i64::try_from(replica.lag.as_micros()).unwrap_or(i64::MAX);
        metrics.lag_us.set(lag_us);
        metrics.in_use.set(replica.pool.in_use.into());
        metrics.idle.set(replica.pool.idle.into());
        metrics.waiting.set(replica.pool.waiting.into());
        metrics.served.add(replica.served);
        metrics.behind.add(replica.behind);
        metrics.failed.add(replica.failed);
        metrics.left_out.add(replica.left_out);
    }
}
