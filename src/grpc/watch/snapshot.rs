//! Reading what a watch begins with: pages of what it selects, then what it names
//! and the pages did not have.
//!
//! A replica may be read for it, which is then as good as the primary: the primary is
//! asked where it stands after the watch on the feed has begun, and a replica answers
//! only once it has replayed up to there. So everything that was committed before the
//! watch began is in the snapshot, whoever reads it, and everything after comes through
//! the feed. Where a replica is below what the caller has seen, which can only be when
//! commits were lost, the primary is read again: it alone says that a version fell.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::OnceCell;

use super::MESSAGE_LEVELS_MAX;
use super::turns::{Turns, unattended};
use crate::domain::{LevelKey, Location, ServedFrom, StockLevel};
use crate::feed::Targets;
use crate::storage::{LevelFilter, Moment, StorageError, Store};

/// Where a snapshot is read.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) store: Store,
    /// Whose turn it is at the primary.
    pub(super) turns: Turns,
    /// Whose turn it is at the replicas; none if only the primary will do.
    pub(super) replica_turns: Option<Turns>,
}

/// How far the snapshot has come.
pub(super) struct Snapshot {
    sources: Sources,
    /// What a replica must have replayed; asked for with the first page.
    since: Arc<OnceCell<Moment>>,
    /// What is listed now and after it.
    scans: Vec<Scan>,
    /// After which level the scan goes on, if it has begun.
    after: Option<LevelKey>,
    /// Levels that are named and have not been read yet.
    unread: BTreeSet<LevelKey>,
    /// Levels that the primary shall have the last word on.
    again: BTreeSet<LevelKey>,
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

/// Levels that were read, and where.
pub(super) type Levels = (Vec<StockLevel>, ServedFrom);

/// Levels, and after which one the scan goes on, if it does.
type Page = (Levels, Option<LevelKey>);

type Reading = BoxFuture<'static, Result<Page, StorageError>>;

impl Snapshot {
    pub(super) fn new(sources: Sources, targets: Targets) -> Self {
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
            sources,
            since: Arc::default(),
            scans,
            after: None,
            unread: targets.keys,
            again: BTreeSet::new(),
            reading: None,
        }
    }

    /// Reads the next page, which may be empty, and says where; none when all has been read.
    pub(super) fn poll_page(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Levels, StorageError>>> {
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

    /// Has levels read again at the primary, after everything else.
    pub(super) fn read_again(&mut self, keys: Vec<LevelKey>) {
        self.again.extend(keys);
    }

    /// Begins to read the next page, if there is one.
    fn read(&mut self) -> Option<Reading> {
        let (sources, since) = (self.sources.clone(), Arc::clone(&self.since));
        if let Some(scan) = self.scans.last().cloned() {
            let after = self.after.take();
            return Some(unattended(async move {
                let filter = scan.filter();
                sources.list(&since, after.as_ref(), &filter).await
            }));
        }
        let take = |keys: &mut BTreeSet<LevelKey>| -> Vec<LevelKey> {
            let keys = iter::from_fn(|| keys.pop_first());
            keys.take(MESSAGE_LEVELS_MAX).collect()
        };
        let keys = take(&mut self.unread);
        if !keys.is_empty() {
            return Some(unattended(async move { sources.read(&since, &keys).await }));
        }
        let keys = take(&mut self.again);
        (!keys.is_empty()).then(|| unattended(async move { sources.read_primary(&keys).await }))
    }

    /// Turns the page, and has the next one read while this one is sent.
    fn turn(&mut self, ((levels, from), next): Page) -> Levels {
        if !self.unread.is_empty() {
            for level in &levels {
                self.unread.remove(&level.key);
            }
        }
        if next.is_some() {
            self.after = next;
            self.reading = self.read();
        } else {
            self.scans.pop();
        }
        (levels, from)
    }
}

impl Sources {
    async fn list(
        &self,
        since: &OnceCell<Moment>,
        after: Option<&LevelKey>,
        filter: &LevelFilter<'_>,
    ) -> Result<Page, StorageError> {
        let limit = MESSAGE_LEVELS_MAX;
        if let Some(turns) = &self.replica_turns {
            let since = *since.get_or_init(|| self.store.moment()).await;
            let _turn = turns.take().await;
            let page = self.store.list_levels_since(since, after, filter, limit);
            if let Some(page) = page.await {
                return Ok(((page.levels, ServedFrom::Replica), page.next));
            }
        }
        let _turn = self.turns.take().await;
        let page = self.store.list_levels(after, filter, limit).await?;
        Ok(((page.levels, ServedFrom::Primary), page.next))
    }

    async fn read(
        &self,
        since: &OnceCell<Moment>,
        keys: &[LevelKey],
    ) -> Result<Page, StorageError> {
        if let Some(turns) = &self.replica_turns {
            let since = *since.get_or_init(|| self.store.moment()).await;
            let _turn = turns.take().await;
            if let Some(loaded) = self.store.read_levels_since(since, keys).await {
                let levels = loaded.into_iter().map(|it| it.level).collect();
                return Ok(((levels, ServedFrom::Replica), None));
            }
        }
        self.read_primary(keys).await
    }

    async fn read_primary(&self, keys: &[LevelKey]) -> Result<Page, StorageError> {
        let _turn = self.turns.take().await;
        let loaded = self.store.read_levels(keys).await?;
        let levels = loaded.into_iter().map(|it| it.level).collect();
        Ok(((levels, ServedFrom::Primary), None))
    }
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
