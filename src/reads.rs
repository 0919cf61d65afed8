//! Reads of levels for callers: which source answers them.
//!
//! Promises that whatever serves a read shows a version that was committed and none
//! below the `min_version` that was asked for. Never used for a decision about stock.

use crate::domain::{KeyToRead, LoadedLevel, ServedFrom, Sku, StockLevel};
use crate::error::Error;
use crate::storage::Store;

/// A handle on the sources; clones share them.
#[derive(Debug, Clone)]
pub struct Reads {
    store: Store,
}

impl Reads {
    /// Reads from `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Reads levels in the order of `keys`, all from one source.
    ///
    /// # Errors
    /// [`Error::SkuNotFound`] with all SKUs that are unknown,
    /// [`Error::VersionNotReached`] when not even the primary has the version asked
    /// for, [`Error::StoreUnavailable`].
    pub async fn levels(&self, keys: &[KeyToRead]) -> Result<(Vec<StockLevel>, ServedFrom), Error> {
        let (loaded, source) = self.store.read_levels_at(keys).await?;
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
