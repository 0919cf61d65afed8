//! What a watch has seen: what makes it resume, and what keeps it from going back.

use std::collections::HashMap;

use super::proto::{SeenLevel, StockLevel};

/// Most levels that a watch may name when it resumes; the server's bound.
const SEEN_MAX: usize = 100_000;

/// The last version seen of every level.
///
/// Pure: messages go in, what is news comes out.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The store that the versions belong to; empty before the first stream.
    store_id: String,
    /// Location, SKU, version: two steps, so that a look-up needs no new string.
    versions: HashMap<String, HashMap<String, i64>>,
    /// How many levels there are in `versions`.
    count: usize,
    /// Levels that came although they were no news.
    repeats: u64,
}

impl Seen {
    /// The store that the versions belong to; empty when none are known.
    pub(super) fn store_id(&self) -> &str {
        &self.store_id
    }

    /// Levels that the server sent although a version as high had been seen.
    /// A server that keeps its promises never does.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// A stream began: versions of another store mean nothing here.
    pub(super) fn started(&mut self, store_id: String) {
        if self.store_id != store_id {
            self.versions.clear();
            self.count = 0;
            self.store_id = store_id;
        }
    }

    /// Keeps of `levels` what is news. With `reset` everything is.
    pub(super) fn news(&mut self, mut levels: Vec<StockLevel>, reset: bool) -> Vec<StockLevel> {
        levels.retain(|level| self.is_news(level, reset));
        levels
    }

    fn is_news(&mut self, level: &StockLevel, reset: bool) -> bool {
        let location = match self.versions.get_mut(&level.location) {
            Some(location) => location,
            None => self.versions.entry(level.location.clone()).or_default(),
        };
        match location.get_mut(&level.sku) {
            Some(last) if reset || level.version > *last => {
                *last = level.version;
                true
            }
            Some(_) => {
                // Beyond SEEN_MAX the server cannot know what was seen.
                if self.count <= SEEN_MAX {
                    self.repeats += 1;
                }
                false
            }
            None => {
                location.insert(level.sku.clone(), level.version);
                self.count += 1;
                true
            }
        }
    }

    /// What to tell the server when the watch resumes. Levels beyond its bound
    /// are left out: they are sent again, and dropped here.
    pub(super) fn levels(&self) -> Vec<SeenLevel> {
        self.versions
            .iter()
            .flat_map(|(location, skus)| {
                skus.iter().map(|(sku, version)| SeenLevel {
                    sku: sku.clone(),
                    location: location.clone(),
                    version: *version,
                })
            })
            .take(SEEN_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(sku: &str, version: i64) -> StockLevel {
        StockLevel {
            sku: sku.into(),
            location: "main".into(),
            version,
            ..StockLevel::default()
        }
    }

    fn versions(levels: &[StockLevel]) -> Vec<i64> {
        levels.iter().map(|level| level.version).collect()
    }

    #[test]
    fn versions_of_a_level_strictly_rise() {
        let mut seen = Seen::default();
        seen.started("store".into());
        let sent = [0, 3, 3, 2, 7].map(|version| level("a", version));
        assert_eq!(versions(&seen.news(sent.into(), false)), [0, 3, 7]);
        assert_eq!(seen.repeats(), 2);
        assert_eq!(versions(&seen.news(vec![level("b", 1)], false)), [1]);
    }

    #[test]
    fn a_reset_lets_a_version_fall_once() {
        let mut seen = Seen::default();
        seen.started("store".into());
        seen.news(vec![level("a", 9)], false);
        assert_eq!(versions(&seen.news(vec![level("a", 4)], true)), [4]);
        assert!(seen.news(vec![level("a", 4)], false).is_empty());
        assert_eq!(versions(&seen.news(vec![level("a", 5)], false)), [5]);
    }

    #[test]
    fn a_resume_names_the_last_versions_and_their_store() {
        let mut seen = Seen::default();
        assert!(seen.levels().is_empty());
        seen.started("store".into());
        seen.news(vec![level("a", 1), level("b", 2), level("a", 5)], false);
        seen.started("store".into());
        let mut resumed: Vec<_> = seen
            .levels()
            .into_iter()
            .map(|level| (level.sku, level.version))
            .collect();
        resumed.sort();
        assert_eq!(resumed, [("a".into(), 5), ("b".into(), 2)]);
        assert_eq!(seen.store_id(), "store");
    }

    #[test]
    fn another_store_makes_all_that_was_seen_void() {
        let mut seen = Seen::default();
        seen.started("old".into());
        seen.news(vec![level("a", 9)], false);
        seen.started("new".into());
        assert!(seen.levels().is_empty());
        assert_eq!(versions(&seen.news(vec![level("a", 1)], true)), [1]);
        assert_eq!(seen.repeats(), 0);
    }
}
