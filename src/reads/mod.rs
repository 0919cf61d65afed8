//! Reads of levels for callers: which source answers them.
//!
//! Promises that whatever serves a read shows a version that was committed and none
//! below the `min_version` that was asked for, and that all levels of a read come from
//! one source. A read that names no `min_version` goes to the primary. Never used for a
//! decision about stock, but for the refusals that `cache.fast_refusal` allows.

mod misses;
mod refusals;

use self::misses::Misses;
use self::refusals::Refusals;
use crate::cache::{Cache, Found};
use crate::domain::{
    KeyToRead, LevelKey, LoadedLevel, NewOrder, ServedFrom, Sku, StockLevel, Version,
};
use crate::error::Error;
use crate::storage::Store;
use crate::tasks::Tasks;

/// A handle on the sources; clones share them.
#[derive(Clone)]
pub(crate) struct Reads {
    store: Store,
    cached: Option<(Cache, Misses)>,
    /// Where orders may be refused on cached levels.
    refusals: Option<Refusals>,
}

/// What came of asking the cache.
enum Looked {
    /// All there is to answer.
    Hit(Vec<StockLevel>),
    /// It has not all of it.
    Miss,
    /// It cannot be asked.
    Unavailable,
}

impl Reads {
    /// Reads from `store`, and before it from `cache` if there is one, on which
    /// `fast_refusal` lets orders be refused. To be called on the runtime that misses are
    /// read on.
    pub(crate) fn new(
        store: Store,
        cache: Option<Cache>,
        fast_refusal: bool,
        tasks: &Tasks,
    ) -> Self {
        let refusals = cache.clone().filter(|_| fast_refusal);
        let refusals = refusals.map(|cache| Refusals::start(store.clone(), cache, tasks));
        let cached = cache.map(|cache| {
            let misses = Misses::start(store.clone(), cache.clone(), tasks);
            (cache, misses)
        });
        Self {
            store,
            cached,
            refusals,
        }
    }

    /// Reads levels in the order of `keys`, all from one source.
    ///
    /// # Errors
    /// [`Error::SkuNotFound`] with all SKUs that are unknown,
    /// [`Error::VersionNotReached`] when not even the primary has the version asked
    /// for, [`Error::StoreUnavailable`].
    pub(crate) async fn levels(
        &self,
        keys: &[KeyToRead],
    ) -> Result<(Vec<StockLevel>, ServedFrom), Error> {
        let Some((cache, misses)) = &self.cached else {
            return self.stored(keys).await;
        };
        if keys.iter().any(|(_, wanted)| wanted.is_none()) {
            return self.stored(keys).await;
        }
        match look(cache, keys).await {
            Looked::Hit(levels) => Ok((levels, ServedFrom::Cache)),
            Looked::Unavailable => self.stored(keys).await,
            Looked::Miss => match keys {
                [(key, wanted)] => Box::pin(self.missed(misses, key, *wanted)).await,
                _ => Box::pin(self.missed_some(cache, keys)).await,
            },
        }
    }

    /// Why an order is refused without asking the engine, on cached levels that have not
    /// enough. None where the engine shall decide: always, unless `cache.fast_refusal`.
    pub(crate) async fn refuse(&self, new: &NewOrder) -> Option<Error> {
        // On the heap: the future of every order would be as large.
        Box::pin(self.refusals.as_ref()?.refuse(new)).await
    }

    /// To be told why the engine refused an order: the next may be refused on the cache.
    pub(crate) fn refused(&self, error: &Error) {
        if let (Some(_), Some((_, misses)), Error::InsufficientStock(short)) =
            (&self.refusals, &self.cached, error)
        {
            short.iter().for_each(|short| misses.fill(&short.key));
        }
    }

    /// Reads one level that the cache had not, together with whoever else misses it.
    async fn missed(
        &self,
        misses: &Misses,
        key: &LevelKey,
        wanted: Option<Version>,
    ) -> Result<(Vec<StockLevel>, ServedFrom), Error> {
        match misses.read(key, wanted.unwrap_or_default()).await {
            Some((loaded, source))
                if wanted.is_none_or(|wanted| loaded.level.version >= wanted) =>
            {
                refuse_unknown(std::slice::from_ref(&loaded))?;
                Ok((vec![loaded.level], source))
            }
            // The read failed, or it was another caller's, who asked for less or earlier.
            _ => self.stored(&[(key.clone(), wanted)]).await,
        }
    }

    /// Reads a batch of which the cache had not everything.
    async fn missed_some(
        &self,
        cache: &Cache,
        keys: &[KeyToRead],
    ) -> Result<(Vec<StockLevel>, ServedFrom), Error> {
        cache.counters().fills.add(1);
        let (levels, source) = self.stored(keys).await?;
        cache.offer(&levels);
        Ok((levels, source))
    }

    /// Reads from the database, or a replica of it.
    async fn stored(&self, keys: &[KeyToRead]) -> Result<(Vec<StockLevel>, ServedFrom), Error> {
        // On the heap: the future of every read, cached or not, would be as large, and is moved
        // several times before it runs.
        let (loaded, source) = Box::pin(self.store.read_levels_at(keys)).await?;
        refuse_unknown(&loaded)?;
        let levels: Vec<StockLevel> = loaded.into_iter().map(|loaded| loaded.level).collect();
        for (level, (_, wanted)) in levels.iter().zip(keys) {
            if let Some(wanted) = *wanted
                && level.version < wanted
            {
                return Err(Error::VersionNotReached {
                    key: level.key.clone(),
                    wanted,
                    actual: level.version,
                });
            }
        }
        Ok((levels, source))
    }
}

/// Asks the cache, and counts what came of it.
async fn look(cache: &Cache, keys: &[KeyToRead]) -> Looked {
    let counters = cache.counters();
    let names: Vec<LevelKey> = keys.iter().map(|(key, _)| key.clone()).collect();
    let Some(found) = cache.find(names).await else {
        counters.unavailable.add(1);
        return Looked::Unavailable;
    };
    let levels: Option<Vec<StockLevel>> = Found::into_iter(found).collect();
    let Some(levels) = levels else {
        counters.misses.add(1);
        return Looked::Miss;
    };
    let wanted = keys.iter().map(|(_, wanted)| wanted.unwrap_or_default());
    if levels
        .iter()
        .zip(wanted)
        .any(|(level, wanted)| level.version < wanted)
    {
        counters.behind.add(1);
        return Looked::Miss;
    }
    counters.hits.add(1);
    Looked::Hit(levels)
}

fn refuse_unknown(loaded: &[LoadedLevel]) -> Result<(), Error> {
    let unknown = loaded.iter().filter(|loaded| !loaded.sku_known);
    let mut unknown: Vec<Sku> = unknown.map(|loaded| loaded.level.key.sku.clone()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    unknown.dedup();
    Err(Error::SkuNotFound(unknown))
}
