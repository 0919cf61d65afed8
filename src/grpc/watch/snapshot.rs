//! Reading what a watch begins with: pages of what it selects, then what it names
//! and the pages did not have.

use std::collections::BTreeSet;
use std::iter;
use std::panic::resume_unwind;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::turns::Turns;
use crate::domain::{LevelKey, Location, StockLevel};
use crate::feed::Targets;
use crate::storage::{LevelFilter, StorageError, Store};

/// How far the snapshot has come.
pub(super) struct Snapshot {
    store: Store,
    turns: Turns,
    page_levels: usize,
    /// What is listed now and after it.
    scans: Vec<Scan>,
    /// The last level of the page before, if the scan has begun.
    after: Option<LevelKey>,
    /// Levels that are named and have not been read yet.
    unread: BTreeSet<LevelKey>,
    reading: Option<Reading>,
}

/// One selector.
#[derive(Clone)]
enum Scan {
    All,
    Prefix(Box<str>),
    Location(Location),
    Low,
}

/// Levels, and whether the scan goes on.
type Page = (Vec<StockLevel>, bool);

type Reading = BoxFuture<'static, Result<Page, StorageError>>;

impl Snapshot {
    pub(super) fn new(store: Store, turns: Turns, targets: Targets, page_levels: usize) -> Self {
        let selectors = targets.selectors;
        let mut scans = Vec::new();
        if selectors.all {
            scans.push(Scan::All);
        } else {
            scans.extend(selectors.low.then_some(Scan::Low));
            scans.extend(selectors.locations.into_iter().map(Scan::Location));
            let prefixes = selectors.prefixes.iter();
            scans.extend(prefixes.map(|prefix| Scan::Prefix(prefix.into())));
        }
        Self {
            store,
            turns,
            page_levels,
            scans,
            after: None,
            unread: targets.keys,
            reading: None,
        }
    }

    /// Reads the next page, which may be empty; none when all has been read.
    pub(super) fn poll_page(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<StockLevel>, StorageError>>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => match self.read() {
                Some(reading) => self.reading.insert(reading),
                None => return Poll::Ready(None),
            },
        };
        let page = ready!(reading.poll_unpin(cx));
        self.reading = None;
        Poll::Ready(Some(page.map(|page| self.turn(page))))
    }

    /// Begins to read the next page, if there is one.
    fn read(&mut self) -> Option<Reading> {
        let (store, turns, limit) = (self.store.clone(), self.turns.clone(), self.page_levels);
        if let Some(scan) = self.scans.last().cloned() {
            let after = self.after.take();
            let read = async move {
                let _turn = turns.take().await;
                let filter = scan.filter();
                let page = store.list_levels(after.as_ref(), &filter, limit).await?;
                Ok((page.levels, page.more))
            };
            return Some(read.boxed());
        }
        let keys: Vec<LevelKey> = iter::from_fn(|| self.unread.pop_first())
            .take(limit)
            .collect();
        if keys.is_empty() {
            return None;
        }
        let read = async move {
            let _turn = turns.take().await;
            let loaded = store.read_levels(&keys).await?;
            Ok((loaded.into_iter().map(|it| it.level).collect(), false))
        };
        Some(read.boxed())
    }

    /// Turns the page.
    fn turn(&mut self, (levels, more): Page) -> Vec<StockLevel> {
        if !self.unread.is_empty() {
            for level in &levels {
                self.unread.remove(&level.key);
            }
        }
        if more {
            self.after = levels.last().map(|level| level.key.clone());
            self.reading = self.read().map(read_ahead);
        } else {
            self.scans.pop();
        }
        levels
    }
}

/// Lets a page be read while the one before is sent: one page, however long that takes.
fn read_ahead(read: Reading) -> Reading {
    let read = AbortOnDropHandle::new(tokio::spawn(read));
    async move {
        read.await
            .unwrap_or_else(|it| resume_unwind(it.into_panic()))
    }
    .boxed()
}

impl Scan {
    fn filter(&self) -> LevelFilter<'_> {
        let all = LevelFilter::default();
        match self {
            Self::All => all,
            Self::Prefix(sku_prefix) => LevelFilter { sku_prefix, ..all },
            Self::Location(location) => LevelFilter {
                location: Some(location),
                ..all
            },
            Self::Low => LevelFilter {
                low_only: true,
                ..all
            },
        }
    }
}
