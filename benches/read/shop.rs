//! The servers: PostgreSQL with replicas, Redis if there is one, Stockroom with and without
//! them, and the echo; and who of them uses how much processor time.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stockroom::client::proto::Product;
use stockroom::client::proto::PutProductsRequest;
use stockroom::client::{Client, ClientError};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::callers::{self, Call, Calls};
use crate::support::cpu;
use crate::support::effort::Effort;
use crate::support::processes::{STOCKROOM, Server};
use crate::support::servers::postgres::{self, Database, psql};
use crate::support::servers::redis;
use crate::support::servers::stockroom::command;

/// Levels that are read.
const LEVELS: usize = 1_000;

/// What nobody has of.
const SOLD_OUT: &str = "sold-out";

/// What it may take until the cache answers.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Echo,
    /// With so many replicas, and without Redis.
    Plain(usize),
    /// With Redis, refusals on it included.
    Cached,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) calls_per_s: f64,
    pub(crate) share_of_cache: f64,
    pub(crate) share_of_replicas: f64,
    /// Microseconds of processor time for a call.
    pub(crate) server_us: f64,
    /// Of the primary.
    pub(crate) database_us: f64,
    pub(crate) replicas_us: f64,
    pub(crate) redis_us: f64,
}

/// Everything that is measured.
pub(crate) struct Shop {
    runtime: Runtime,
    folder: TempDir,
    database: Database,
    replicas: Vec<Arc<postgres::Server>>,
    _primary: Arc<postgres::Server>,
    /// None where it is not installed.
    redis: Option<redis::Server>,
    skus: Vec<String>,
}

impl Shop {
    /// Starts what serves, and receives stock.
    ///
    /// # Errors
    /// A server does not start.
    pub(crate) fn open(replicas: usize) -> anyhow::Result<Self> {
        let primary = postgres::Server::start();
        let mut shop = Self {
            runtime: Runtime::new()?,
            folder: tempfile::tempdir()?,
            database: primary.database(),
            replicas: (0..replicas).map(|_| primary.replica()).collect(),
            _primary: Arc::clone(&primary),
            redis: redis::program().map(|_| redis::Server::start()),
            skus: Vec::new(),
        };
        let server = shop.serve(Who::Plain(0))?;
        let mut load = command(STOCKROOM, shop.folder.path());
        load.args(["load", "--seconds=0", "--warmup-seconds=0"])
            .args([format!("--skus={LEVELS}"), format!("--addr={}", server.url)])
            .stdout(Stdio::null());
        ensure!(load.status()?.success(), "cannot receive stock");
        shop.skus = shop.runtime.block_on(stocked(&server.url))?;
        ensure!(
            shop.skus.len() == LEVELS,
            "{} levels are there",
            shop.skus.len()
        );
        server.stop()?;
        psql(&shop.database.url, "VACUUM (ANALYZE)");
        for replica in &shop.replicas {
            primary.wait_until_shown_by(replica);
        }
        Ok(shop)
    }

    /// Calls one of the servers.
    ///
    /// # Errors
    /// A server or a call failed.
    pub(crate) fn measure(
        &self,
        who: Who,
        what: Call,
        callers: usize,
        effort: &Effort,
    ) -> anyhow::Result<Measured> {
        let server = self.serve(who)?;
        let client = self
            .runtime
            .block_on(Client::connect(&server.url, callers::CONNECTIONS))?;
        let sold_out = [SOLD_OUT.to_owned()];
        let skus = if what == Call::SoldOut {
            &sold_out[..]
        } else {
            &self.skus
        };
        let calling = |time| {
            let calls = callers::call(&client, skus, what, callers, time);
            self.runtime.block_on(calls)
        };
        calling(effort.warmup)?;
        wait_for_source(who, what, calling)?;
        let before = self.used(&server)?;
        let began = Instant::now();
        let calls = calling(effort.measured)?;
        let seconds = began.elapsed().as_secs_f64();
        let after = self.used(&server)?;
        server.stop()?;
        let all = calls.all as f64;
        let [server_us, database_us, replicas_us, redis_us] =
            [0, 1, 2, 3].map(|i| (after[i] - before[i]).as_secs_f64() * 1e6 / all);
        Ok(Measured {
            calls_per_s: all / seconds,
            share_of_cache: calls.from_cache as f64 / all,
            share_of_replicas: calls.from_replicas as f64 / all,
            server_us,
            database_us,
            replicas_us,
            redis_us,
        })
    }

    fn serve(&self, who: Who) -> anyhow::Result<Server> {
        if who == Who::Echo {
            return Server::own(&self.runtime, self.folder.path(), "--serve-echo");
        }
        let mut settings = vec![("STOCKROOM_STORE_MIGRATE_AT_START", "true".to_owned())];
        if let Who::Plain(replicas) = who {
            let replicas = self.replicas[..replicas].iter();
            let urls: Vec<String> = replicas.map(|it| self.database.url_on(it)).collect();
            settings.push(("STOCKROOM_STORE_REPLICAS", urls.join(",")));
        }
        if who == Who::Cached {
            let redis = self.redis.as_ref().context("there is no Redis")?;
            settings.push(("STOCKROOM_REDIS_URLS", redis.url()));
            settings.push(("STOCKROOM_CACHE_FAST_REFUSAL", "true".to_owned()));
            // No entry ends while it is measured.
            settings.push(("STOCKROOM_CACHE_TTL_MS", "3600000".to_owned()));
        }
        let folder = self.folder.path();
        Server::stockroom(&self.runtime, folder, &self.database.url, &settings)
    }

    /// Of the server, of the primary, of the replicas, of Redis.
    fn used(&self, server: &Server) -> anyhow::Result<[Duration; 4]> {
        let of_database = |url: &str| cpu::used_by_family(postmaster(url)?);
        let replicas = self.replicas.iter();
        let replicas = replicas.map(|it| of_database(&self.database.url_on(it)));
        let redis = match &self.redis {
            Some(redis) => cpu::used(redis.pid())?,
            None => Duration::ZERO,
        };
        Ok([
            cpu::used(server.pid())?,
            of_database(&self.database.url)?,
            replicas.sum::<anyhow::Result<_>>()?,
            redis,
        ])
    }
}

/// A cache has to be filled, and a replica checked, before they answer.
fn wait_for_source(
    who: Who,
    what: Call,
    calling: impl Fn(Duration) -> Result<Calls, ClientError>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let calls = calling(Duration::from_millis(50))?;
        let is_ready = match (who, what) {
            (Who::Cached, Call::Any) => calls.from_cache == calls.all,
            (Who::Plain(1..), Call::Any) => calls.from_replicas == calls.all,
            _ => true,
        };
        if is_ready {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{who:?} does not answer by itself"
        );
    }
}

/// The SKUs that have stock, and one that had one unit and has none.
async fn stocked(url: &str) -> anyhow::Result<Vec<String>> {
    use stockroom::client::proto::adjust_stock_request::Change;
    use stockroom::client::proto::{AdjustStockRequest, ListStockRequest, MovementKind};
    let client = Client::connect(url, 1).await?;
    let page = ListStockRequest {
        page_size: LEVELS as i32,
        ..ListStockRequest::default()
    };
    let levels = client.list_stock(page).await?.levels;
    let product = Product {
        sku: SOLD_OUT.to_owned(),
        ..Product::default()
    };
    let products = vec![product];
    client
        .put_products(PutProductsRequest {
            products,
            ..Default::default()
        })
        .await?;
    for (request_id, delta, kind) in [
        ("in", 1, MovementKind::Received),
        ("out", -1, MovementKind::Damaged),
    ] {
        let adjustment = AdjustStockRequest {
            request_id: request_id.to_owned(),
            sku: SOLD_OUT.to_owned(),
            change: Some(Change::Delta(delta)),
            kind: kind.into(),
            ..AdjustStockRequest::default()
        };
        client.adjust_stock(adjustment).await?;
    }
    Ok(levels.into_iter().map(|level| level.sku).collect())
}

/// The process whose children are all of a database's.
fn postmaster(url: &str) -> anyhow::Result<u32> {
    let said = psql(url, "SHOW data_directory");
    let folder = String::from_utf8(said.stdout)?;
    let file = fs::read_to_string(Path::new(folder.trim()).join("postmaster.pid"))?;
    let first = file.lines().next().context("postmaster.pid is empty")?;
    Ok(first.trim().parse()?)
}
