//! Watchers that trust nobody: each audits what it is sent, and at the end
//! compares what it saw with what the database holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::history::{Ledger, Report};
use crate::client::proto::StockKey;
use crate::client::{Client, Watch, WatchEvent, WatchTargets};
use crate::domain;
use crate::storage::{LevelFilter, Store};

/// Watchers of everything.
const WATCHERS_OF_ALL: u32 = 10;

/// Watchers of one best-seller each.
const WATCHERS_OF_ONE: u32 = 90;

/// The last value is due at once; a machine that is busy gets this long.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Levels of one page when the truth is read.
const PAGE_LEVELS: usize = 1_000;

/// What the database holds when all orders are done, by SKU: the demo keeps
/// everything at one location.
#[derive(Debug)]
pub(super) struct Truth {
    levels: HashMap<String, domain::StockLevel>,
    ledger: Arc<Ledger>,
}

impl Truth {
    /// Reads it past the server.
    pub(super) async fn read(store: &Store) -> anyhow::Result<Self> {
        let (mut levels, mut ledger) = (HashMap::new(), Ledger::default());
        let mut after = None;
        loop {
            let page = store
                .list_levels(after.as_ref(), &LevelFilter::default(), PAGE_LEVELS)
                .await?;
            for level in page.levels {
                ledger.level(&(&level).into());
                levels.insert(level.key.sku.to_string(), level);
            }
            after = page.next;
            if after.is_none() {
                let ledger = Arc::new(ledger);
                return Ok(Self { levels, ledger });
            }
        }
    }

    /// Every level.
    pub(super) fn levels(&self) -> impl Iterator<Item = &domain::StockLevel> {
        self.levels.values()
    }

    /// One level.
    pub(super) fn level(&self, sku: &str) -> Option<&domain::StockLevel> {
        self.levels.get(sku)
    }
}

/// The watchers at work.
pub(super) struct Watchers {
    tasks: JoinSet<anyhow::Result<Report>>,
    /// Tells them that all is done, and what the last values are.
    truth: watch::Sender<Option<Arc<Ledger>>>,
}

impl Watchers {
    /// Starts them, and waits until each has had its snapshot.
    pub(super) async fn start(client: &Client, best_sellers: &[&str]) -> anyhow::Result<Self> {
        let (truth, learn) = watch::channel(None);
        let synced = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..WATCHERS_OF_ALL + WATCHERS_OF_ONE {
            let sku = n.checked_sub(WATCHERS_OF_ALL);
            let sku = sku
                .and_then(|rank| best_sellers.get(rank as usize))
                .copied();
            let targets = match sku {
                None => WatchTargets::all(),
                Some(sku) => WatchTargets::levels([StockKey {
                    sku: sku.to_owned(),
                    location: String::new(),
                }]),
            };
            let watch = client.watch(targets).audited();
            tasks.spawn(run(watch, Arc::clone(&synced), learn.clone()));
        }
        let all = synced.acquire_many(WATCHERS_OF_ALL + WATCHERS_OF_ONE);
        let all = timeout(CATCH_UP_TIMEOUT, all).await;
        all.context("the watchers did not get their snapshots in time")??
            .forget();
        Ok(Self { tasks, truth })
    }

    /// Tells them the truth and collects what they found.
    pub(super) async fn finish(mut self, truth: &Truth) -> anyhow::Result<Report> {
        self.truth.send_replace(Some(Arc::clone(&truth.ledger)));
        let mut report = Report::default();
        while let Some(watcher) = self.tasks.join_next().await {
            report.add(watcher??);
        }
        Ok(report)
    }
}

/// Watches until it is told the truth and has the last value of every level.
async fn run(
    mut watch: Watch,
    synced: Arc<Semaphore>,
    mut learn: watch::Receiver<Option<Arc<Ledger>>>,
) -> anyhow::Result<Report> {
    let mut has_synced = false;
    let mut truth: Option<Arc<Ledger>> = None;
    let mut deadline = Instant::now();
    let done = |watch: &Watch, truth: &Ledger| watch.audit().is_some_and(|a| a.caught_up(truth));
    while !truth.as_ref().is_some_and(|truth| done(&watch, truth)) {
        tokio::select! {
            event = watch.next() => {
                if matches!(event?, WatchEvent::Synced) && !has_synced {
                    has_synced = true;
                    synced.add_permits(1);
                }
            }
            told = learn.changed(), if truth.is_none() => {
                told.context("the demo stopped")?;
                truth = learn.borrow().clone();
                deadline = Instant::now() + CATCH_UP_TIMEOUT;
            }
            () = sleep_until(deadline), if truth.is_some() => break,
        }
    }
    let (audit, now) = watch.into_audit().context("the watch is audited")?;
    Ok(audit.finish(now, &truth.unwrap_or_default()))
}
