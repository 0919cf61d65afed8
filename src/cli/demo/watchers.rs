//! Watchers that trust nobody: each checks what it is sent, and at the end
//! compares what it saw last with what the database holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::proto::{StockKey, StockLevel};
use crate::client::{Client, Watch, WatchEvent, WatchTargets};
use crate::domain;
use crate::storage::{LevelFilter, Store};

/// Watchers of everything.
const WATCHERS_OF_ALL: u32 = 10;

/// Watchers of one best-seller each.
const WATCHERS_OF_ONE: u32 = 90;

/// The last value is due at once; a machine that is busy gets this long.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Violations that a watcher remembers in words.
const VIOLATIONS_MAX: usize = 3;

/// Levels of one page when the truth is read.
const PAGE_LEVELS: usize = 1_000;

/// What the database holds when all orders are done, by SKU: the demo keeps
/// everything at one location.
#[derive(Debug, Clone)]
pub(super) struct Truth(Arc<HashMap<String, domain::StockLevel>>);

impl Truth {
    /// Reads it past the server.
    pub(super) async fn read(store: &Store) -> anyhow::Result<Self> {
        let mut levels = HashMap::new();
        let mut after = None;
        loop {
            let page = store
                .list_levels(after.as_ref(), &LevelFilter::default(), PAGE_LEVELS)
                .await?;
            after = page.levels.last().map(|level| level.key.clone());
            levels.extend(page.levels.into_iter().map(|l| (l.key.sku.to_string(), l)));
            if !page.more {
                return Ok(Self(Arc::new(levels)));
            }
        }
    }

    /// Every level.
    pub(super) fn levels(&self) -> impl Iterator<Item = &domain::StockLevel> {
        self.0.values()
    }

    /// One level.
    pub(super) fn level(&self, sku: &str) -> Option<&domain::StockLevel> {
        self.0.get(sku)
    }
}

/// What watchers found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Streams.
    pub(super) watchers: u32,
    /// Levels received.
    pub(super) levels: u64,
    /// Versions that these levels stand for, those folded away included.
    pub(super) versions: u64,
    /// Broken promises, all of them.
    pub(super) violations: u64,
    /// The first few in words.
    pub(super) examples: Vec<String>,
}

impl Findings {
    fn violation(&mut self, words: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < VIOLATIONS_MAX {
            self.examples.push(words());
        }
    }

    fn add(&mut self, other: Self) {
        self.watchers += other.watchers;
        self.levels += other.levels;
        self.versions += other.versions;
        self.violations += other.violations;
        self.examples.extend(other.examples);
        self.examples.truncate(VIOLATIONS_MAX);
    }
}

/// The watchers at work.
pub(super) struct Watchers {
    tasks: JoinSet<anyhow::Result<Findings>>,
    /// Tells them that all is done, and what the last values are.
    truth: watch::Sender<Option<Truth>>,
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
            let watcher = Watcher {
                watch: client.watch(targets),
                sku: sku.map(str::to_owned),
                last: HashMap::new(),
                findings: Findings {
                    watchers: 1,
                    ..Findings::default()
                },
            };
            tasks.spawn(watcher.run(Arc::clone(&synced), learn.clone()));
        }
        let all = synced.acquire_many(WATCHERS_OF_ALL + WATCHERS_OF_ONE);
        let all = timeout(CATCH_UP_TIMEOUT, all).await;
        all.context("the watchers did not get their snapshots in time")??
            .forget();
        Ok(Self { tasks, truth })
    }

    /// Tells them the truth and collects what they found.
    pub(super) async fn finish(mut self, truth: &Truth) -> anyhow::Result<Findings> {
        self.truth.send_replace(Some(truth.clone()));
        let mut findings = Findings::default();
        while let Some(watcher) = self.tasks.join_next().await {
            findings.add(watcher??);
        }
        Ok(findings)
    }
}

/// One watcher.
struct Watcher {
    watch: Watch,
    /// The SKU that it watches; none means all.
    sku: Option<String>,
    /// The last value of each level.
    last: HashMap<String, StockLevel>,
    findings: Findings,
}

impl Watcher {
    /// Checks everything until it has the last value of every level.
    async fn run(
        mut self,
        synced: Arc<Semaphore>,
        mut learn: watch::Receiver<Option<Truth>>,
    ) -> anyhow::Result<Findings> {
        let mut has_synced = false;
        let mut truth = None;
        let mut deadline = Instant::now();
        while truth.as_ref().is_none_or(|truth| self.behind(truth) > 0) {
            tokio::select! {
                event = self.watch.next() => match event? {
                    WatchEvent::Changes { levels, reset } => self.check(levels, reset),
                    WatchEvent::Synced if !has_synced => {
                        has_synced = true;
                        synced.add_permits(1);
                    }
                    _ => {}
                },
                told = learn.changed(), if truth.is_none() => {
                    told.context("the demo stopped")?;
                    truth = learn.borrow().clone();
                    deadline = Instant::now() + CATCH_UP_TIMEOUT;
                }
                () = sleep_until(deadline), if truth.is_some() => break,
            }
        }
        let behind = truth.map_or(0, |truth| self.behind(&truth));
        if behind > 0 {
            self.findings
                .violation(|| format!("{behind} last values never came"));
        }
        for _ in 0..self.watch.repeats() {
            self.findings
                .violation(|| "a version was sent that had been sent before".to_owned());
        }
        Ok(self.findings)
    }

    fn check(&mut self, levels: Vec<StockLevel>, reset: bool) {
        for level in levels {
            let findings = &mut self.findings;
            let last = self.last.get(&level.sku).map_or(0, |last| last.version);
            findings.levels += 1;
            findings.versions += u64::try_from(level.version - last).unwrap_or(0);
            if self.last.contains_key(&level.sku) && level.version <= last {
                findings
                    .violation(|| format!("{} went from {last} to {}", level.sku, level.version));
            }
            if reset {
                findings.violation(|| format!("{} was reset", level.sku));
            }
            let adds_up = level.available == level.on_hand - level.reserved;
            if !adds_up || level.reserved < 0 || level.available < 0 {
                findings.violation(|| format!("impossible stock: {level:?}"));
            }
            if self.sku.as_ref().is_some_and(|sku| *sku != level.sku) {
                findings.violation(|| format!("{} was not asked for", level.sku));
            }
            self.last.insert(level.sku.clone(), level);
        }
    }

    /// How many levels it has not the last value of.
    fn behind(&self, truth: &Truth) -> usize {
        let is_behind = |level: &&domain::StockLevel| {
            self.last.get(level.key.sku.as_str()).is_none_or(|last| {
                last.version != level.version.number() || last.on_hand != level.on_hand
            })
        };
        match &self.sku {
            Some(sku) => truth
                .level(sku)
                .iter()
                .filter(|level| is_behind(level))
                .count(),
            None => truth.levels().filter(is_behind).count(),
        }
    }
}
