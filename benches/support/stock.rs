//! Databases with stock of every product and nothing sold, to copy.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;

use super::load;
use super::processes::Server;
use super::stores::{Database, StoreKind, postgres_settings};

/// Products of every store, however few of them a case orders: a shop has
/// many, and PostgreSQL plans for tables as large as they have been.
pub(crate) const PRODUCTS: usize = 10_000;

/// What receiving stock of every product may take.
const STOCK_UP_LIMIT: Duration = Duration::from_secs(120);

struct Stocked {
    database: Database,
    units: i64,
}

/// One for each kind of store, made when it is first asked for.
#[derive(Default)]
pub(crate) struct Stocks {
    stocked: HashMap<StoreKind, Stocked>,
    postgres_settings: Option<String>,
}

impl Stocks {
    /// How PostgreSQL keeps its promise; none when it was not asked for.
    pub(crate) fn postgres_settings(&self) -> Option<&str> {
        self.postgres_settings.as_deref()
    }

    /// A copy of the stocked database and the units in it. The first one takes the
    /// time to receive the stock.
    ///
    /// # Errors
    /// The database or a server on it failed.
    pub(crate) fn copy(
        &mut self,
        runtime: &Runtime,
        folder: &Path,
        store: StoreKind,
    ) -> anyhow::Result<(Database, i64)> {
        if !self.stocked.contains_key(&store) {
            let stocked = stock_up(runtime, folder, store).context("cannot stock up")?;
            if store == StoreKind::Postgres {
                self.postgres_settings = Some(postgres_settings(&stocked.database.url())?);
            }
            self.stocked.insert(store, stocked);
        }
        let stocked = &self.stocked[&store];
        Ok((stocked.database.copy()?, stocked.units))
    }
}

fn stock_up(runtime: &Runtime, folder: &Path, store: StoreKind) -> anyhow::Result<Stocked> {
    let database = runtime.block_on(Database::migrated(store))?;
    receive(runtime, folder, &database, PRODUCTS, 1)?;
    database.settle()?;
    let units = runtime.block_on(database.units_on_hand())?;
    Ok(Stocked { database, units })
}

/// Receives stock of the first `products`, so many times, and orders nothing.
///
/// # Errors
/// A server on the database failed.
pub(crate) fn receive(
    runtime: &Runtime,
    folder: &Path,
    database: &Database,
    products: usize,
    times: usize,
) -> anyhow::Result<()> {
    let server = Server::stockroom(runtime, folder, &database.url(), &[])?;
    let arguments = [
        format!("--skus={products}"),
        "--seconds=0".to_owned(),
        "--warmup-seconds=0".to_owned(),
    ];
    for _ in 0..times {
        load::run(&[&server.url], folder, &arguments, STOCK_UP_LIMIT)?;
    }
    server.stop()
}
