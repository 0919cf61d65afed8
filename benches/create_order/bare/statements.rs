//! What a guard says to PostgreSQL for each batch: the server's own statements, with what
//! the server binds when orders take at once.

use anyhow::{Context as _, ensure};
use stockroom::storage::{COMMIT_BATCH, LOCK_LEVELS, TAKE};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::book::{Batch, LOCATION, Level, Levels};
use crate::setup::Guard;

/// As `storage/connect.rs` has it.
const SESSION: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off -c max_parallel_workers_per_gather=0 \
    -c client_min_messages=warning";

/// `OrderState::Confirmed` and `MovementKind::Ordered`, as they are stored.
const CONFIRMED: i16 = 1;
const ORDERED: i16 = 6;

/// A column of which nothing is given.
const NO_TEXT: Option<Vec<&str>> = None;
const NO_NUMBERS: Option<Vec<i64>> = None;
const NO_BYTES: Option<Vec<u8>> = None;

/// One connection with its statements prepared.
pub(super) struct Connection {
    client: Client,
    guard: Guard,
    commit_batch: Statement,
    lock_levels: Statement,
    take: Statement,
}

impl Connection {
    pub(super) async fn open(url: &str, guard: Guard) -> anyhow::Result<Self> {
        let mut config: Config = url.parse()?;
        config.options(SESSION).application_name("bare client");
        let (client, connection) = config.connect(NoTls).await?;
        // Ends with the client; the client's calls report what goes wrong.
        tokio::spawn(connection);
        Ok(Self {
            commit_batch: client.prepare(COMMIT_BATCH).await?,
            lock_levels: client.prepare(LOCK_LEVELS).await?,
            take: client.prepare(TAKE).await?,
            client,
            guard,
        })
    }

    /// The levels of the products with these numbers, in ascending order.
    pub(super) async fn levels(
        &self,
        numbers: impl Iterator<Item = usize>,
    ) -> anyhow::Result<Vec<Level>> {
        let skus: Vec<String> = numbers.map(|number| format!("load-{number:05}")).collect();
        let rows = self
            .client
            .query(
                "SELECT sku, on_hand, version, low_stock_threshold FROM stock_level \
                 WHERE sku = ANY ($1) AND location = $2 ORDER BY sku",
                &[&skus, &LOCATION],
            )
            .await?;
        ensure!(rows.len() == skus.len(), "products have no stock");
        let levels = rows.iter().map(|row| Level {
            sku: String::leak(row.get(0)),
            on_hand: row.get(1),
            version: row.get(2),
            threshold: row.get(3),
        });
        Ok(levels.collect())
    }

    /// Makes `batch` durable.
    pub(super) async fn commit(&self, batch: &Batch) -> anyhow::Result<()> {
        if self.guard == Guard::Optimistic {
            // By itself the statement is a transaction.
            return self.write(batch).await;
        }
        self.client.batch_execute("BEGIN").await?;
        if self.guard == Guard::Pessimistic {
            self.lock(&batch.levels).await?;
        } else {
            self.take(batch).await?;
        }
        self.write(batch).await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(())
    }

    async fn lock(&self, levels: &Levels) -> anyhow::Result<()> {
        let places: Vec<i64> = (0..).take(levels.sku.len()).collect();
        let locations = locations(&levels.sku);
        let parameters: [&(dyn ToSql + Sync); 3] = [&places, &levels.sku, &locations];
        let rows = self.client.query(&self.lock_levels, &parameters).await?;
        ensure!(rows.len() == levels.sku.len(), "levels have gone");
        Ok(())
    }

    async fn take(&self, batch: &Batch) -> anyhow::Result<()> {
        let levels = &batch.levels;
        let locations = locations(&levels.sku);
        let deltas: Vec<i64> = levels.movements.iter().map(|units| -units).collect();
        // Nothing is reserved.
        let reserved = vec![0_i64; deltas.len()];
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &batch.time_us,
            &levels.sku,
            &locations,
            &deltas,
            &reserved,
            &levels.movements,
        ];
        let rows = self.client.query(&self.take, &parameters).await?;
        ensure!(rows.len() == levels.sku.len(), "stock ran short");
        Ok(())
    }

    async fn write(&self, batch: &Batch) -> anyhow::Result<()> {
        let (orders, movements) = (batch.orders(), &batch.movements);
        let (confirmed, ordered) = (vec![CONFIRMED; orders], vec![ORDERED; batch.lines()]);
        let (minus_ones, zeros) = (vec![-1_i64; batch.lines()], vec![0_i64; batch.lines()]);
        let movement_locations = locations(&movements.sku);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &batch.time_us,
            &batch.request_ids,
            &batch.fingerprints,
            &batch.order_ids,
            &NO_TEXT,
            &NO_TEXT,
            &NO_NUMBERS,
            &batch.order_ids,
            &batch.request_ids,
            &confirmed,
            &batch.lines_json,
            &NO_TEXT,
            &NO_TEXT,
            &movements.sku,
            &movement_locations,
            &movements.version,
            &ordered,
            &minus_ones,
            &zeros,
            &movements.on_hand,
            &zeros,
            &movements.order_id,
            &NO_TEXT,
            &NO_TEXT,
        ];
        // No level is new.
        parameters.extend([&NO_TEXT as &(dyn ToSql + Sync); 2]);
        parameters.extend([&NO_NUMBERS as &(dyn ToSql + Sync); 5]);
        let levels = &batch.levels;
        let (level_locations, reserved) = (locations(&levels.sku), vec![0_i64; levels.sku.len()]);
        if self.guard == Guard::Atomic {
            // They have been taken from already.
            parameters.extend([&NO_TEXT as &(dyn ToSql + Sync); 2]);
            parameters.extend([&NO_NUMBERS as &(dyn ToSql + Sync); 5]);
        } else {
            parameters.extend([&levels.sku as &(dyn ToSql + Sync), &level_locations]);
            parameters.extend([
                &levels.on_hand as &(dyn ToSql + Sync),
                &reserved,
                &levels.version,
                &levels.threshold,
                &levels.expected,
            ]);
        }
        // There are no events.
        parameters.push(&NO_BYTES);
        let written = self.client.execute(&self.commit_batch, &parameters).await;
        written.context("commit_batch")?;
        Ok(())
    }
}

fn locations(skus: &[&str]) -> Vec<&'static str> {
    vec![LOCATION; skus.len()]
}
