//! The databases, the server on them, and who uses how much processor time.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use stockroom::client::Client;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::callers;
use crate::cpu;
use crate::effort::Effort;
use crate::processes::{STOCKROOM, Server, command};
use crate::servers::postgres::{self, Database, psql};

/// Levels that are read: more than fit a page, few enough to lie in memory.
const LEVELS: usize = 1_000;

/// What receiving stock and streaming it may take.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) reads_per_s: f64,
    pub(crate) share_of_replicas: f64,
    /// Milliseconds of processor time for a thousand reads, and so are the others.
    pub(crate) primary_cpu_ms: f64,
    pub(crate) replicas_cpu_ms: f64,
    pub(crate) server_cpu_ms: f64,
}

/// A stocked database, its replicas, and the callers' runtime.
pub(crate) struct Shop {
    runtime: Runtime,
    folder: TempDir,
    database: Database,
    replicas: Vec<Arc<postgres::Server>>,
    _primary: Arc<postgres::Server>,
}

impl Shop {
    /// Starts everything and receives stock.
    ///
    /// # Errors
    /// A server does not start.
    pub(crate) fn open(replicas: usize) -> anyhow::Result<Self> {
        let primary = postgres::Server::start();
        let replicas = (0..replicas).map(|_| primary.replica()).collect();
        let shop = Self {
            runtime: Runtime::new()?,
            folder: tempfile::tempdir()?,
            database: primary.database(),
            replicas,
            _primary: Arc::clone(&primary),
        };
        let server = shop.serve(0)?;
        let mut load = command(STOCKROOM, shop.folder.path());
        load.args(["load", "--seconds=0", "--warmup-seconds=0"])
            .args([format!("--skus={LEVELS}"), format!("--addr={}", server.url)])
            .stdout(Stdio::null());
        ensure!(load.status()?.success(), "cannot receive stock");
        server.stop()?;
        psql(&shop.database.url, "VACUUM (ANALYZE)");
        for replica in &shop.replicas {
            primary.wait_until_shown_by(replica);
        }
        Ok(shop)
    }

    /// Reads through a server that may ask so many replicas.
    ///
    /// # Errors
    /// A server or a call failed.
    pub(crate) fn measure(&self, replicas: usize, effort: &Effort) -> anyhow::Result<Measured> {
        let server = self.serve(replicas)?;
        let client = self
            .runtime
            .block_on(Client::connect(&server.url, callers::CONNECTIONS))?;
        let skus = self.runtime.block_on(callers::skus(&client))?;
        ensure!(skus.len() == LEVELS, "{} levels are there", skus.len());
        self.wait_for_replicas(&client, &skus, replicas)?;
        let reading = |time| self.runtime.block_on(callers::read(&client, &skus, time));
        reading(effort.warmup)?;
        let before = self.used(&server)?;
        let began = Instant::now();
        let reads = reading(effort.measured)?;
        let seconds = began.elapsed().as_secs_f64();
        let after = self.used(&server)?;
        server.stop()?;
        let thousands = reads.all as f64 / 1e3;
        let [primary_cpu_ms, replicas_cpu_ms, server_cpu_ms] =
            [0, 1, 2].map(|i| (after[i] - before[i]).as_secs_f64() * 1e3 / thousands);
        Ok(Measured {
            reads_per_s: reads.all as f64 / seconds,
            share_of_replicas: reads.from_replicas as f64 / reads.all as f64,
            primary_cpu_ms,
            replicas_cpu_ms,
            server_cpu_ms,
        })
    }

    fn serve(&self, replicas: usize) -> anyhow::Result<Server> {
        let replicas: Vec<String> = self.replicas[..replicas]
            .iter()
            .map(|replica| self.database.url_on(replica))
            .collect();
        let settings = [
            ("STOCKROOM_STORE_MIGRATE_AT_START", "true".to_owned()),
            ("STOCKROOM_STORE_REPLICAS", replicas.join(",")),
        ];
        Server::stockroom(
            &self.runtime,
            self.folder.path(),
            &self.database.url,
            &settings,
        )
    }

    /// A replica is not asked before it was checked.
    fn wait_for_replicas(
        &self,
        client: &Client,
        skus: &[String],
        replicas: usize,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        let a_few = Duration::from_millis(50);
        loop {
            let reads = self.runtime.block_on(callers::read(client, skus, a_few))?;
            if replicas == 0 || reads.from_replicas == reads.all {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no replica is asked");
        }
    }

    /// Of the primary, of all replicas, of the server.
    fn used(&self, server: &Server) -> anyhow::Result<[Duration; 3]> {
        let mut databases = Vec::new();
        for url in self.urls() {
            databases.push(cpu::used_by_family(postmaster(&url)?)?);
        }
        let replicas = databases.split_off(1).into_iter().sum();
        Ok([databases[0], replicas, cpu::used(server.pid())?])
    }

    /// Of the primary, then of the replicas.
    fn urls(&self) -> Vec<String> {
        let replicas = self.replicas.iter();
        let replicas = replicas.map(|replica| self.database.url_on(replica));
        [self.database.url.clone()]
            .into_iter()
            .chain(replicas)
            .collect()
    }
}

/// The process whose children are all of a database's.
fn postmaster(url: &str) -> anyhow::Result<u32> {
    let said = psql(url, "SHOW data_directory");
    let folder = String::from_utf8(said.stdout)?;
    let file = fs::read_to_string(Path::new(folder.trim()).join("postmaster.pid"))?;
    let first = file.lines().next().context("postmaster.pid is empty")?;
    Ok(first.trim().parse()?)
}
