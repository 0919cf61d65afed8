//! Levels, and what they are kept in, in few words, for the tests beside the code.

use tempfile::TempDir;

use crate::config::Config;
use crate::domain::{LevelKey, LoadedLevel, Location, Sku, StockLevel, Version};

pub(crate) fn key_at(sku: &str, location: &str) -> LevelKey {
    LevelKey {
        sku: Sku::new(sku).unwrap(),
        location: Location::new(location).unwrap(),
    }
}

/// At `main`.
pub(crate) fn key(sku: &str) -> LevelKey {
    key_at(sku, Location::MAIN)
}

/// A level that nothing is reserved of.
pub(crate) fn level(sku: &str, version: i64, on_hand: i64) -> StockLevel {
    StockLevel {
        version: Version::new(version),
        on_hand,
        ..StockLevel::none(key(sku))
    }
}

/// A level as it is read of a product that is there.
pub(crate) fn loaded(level: StockLevel) -> LoadedLevel {
    LoadedLevel {
        level,
        sku_known: true,
    }
}

/// The configuration of a server whose store is in `folder`.
pub(crate) fn config_in(folder: &TempDir) -> Config {
    let mut config = Config::default();
    config.store.url = format!("sqlite://{}", folder.path().join("s.db").display());
    config
}
