//! What a watch has seen: what makes it resume, and what keeps it from going back.

use std::collections::HashMap;

use super::WatchTargets;
use super::proto::{SeenLevel, StockLevel};
use super::targets::Selection;

/// Most levels that a watch may name when it resumes; the server's bound.
const SEEN_MAX: usize = 100_000;

/// The last version seen of every level.
///
/// Pure: messages go in, what is news comes out.
#[derive(Debug)]
pub(super) struct Seen {
    selection: Selection,
    /// The store that the versions belong to; empty before the first stream.
    store_id: String,
    /// Location, SKU: two steps, so that a look-up needs no new string.
    versions: HashMap<String, HashMap<String, Last>>,
    /// How many levels there are in `versions`.
    count: usize,
    /// Levels that came although they were no news.
    repeats: u64,
}

/// What came last of a level.
#[derive(Debug, Clone, Copy)]
struct Last {
    version: i64,
    low_stock: bool,
}

impl Seen {
    pub(super) fn new(targets: &WatchTargets) -> Self {
        Self {
            selection: targets.selection(),
            store_id: String::new(),
            versions: HashMap::new(),
            count: 0,
            repeats: 0,
        }
    }

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
        let now = Last {
            version: level.version,
            low_stock: level.low_stock,
        };
        match location.get_mut(&level.sku) {
            Some(last) if reset || level.version > last.version => {
                let was_low = std::mem::replace(last, now).low_stock;
                // A level that was low when the watch resumed is watched by name, and
                // goes on being sent when it no longer is.
                let is_wanted = was_low || now.low_stock || reset;
                is_wanted || !is_selected_while_low(&self.selection, &level.sku, &level.location)
            }
            Some(_) => {
                // Beyond SEEN_MAX the server cannot know what was seen.
                if self.count <= SEEN_MAX {
                    self.repeats += 1;
                }
                false
            }
            None => {
                location.insert(level.sku.clone(), now);
                self.count += 1;
                true
            }
        }
    }

    /// What to tell the server when the watch resumes. Levels beyond its bound
    /// are left out: they are sent again, and dropped here. So is what is watched
    /// only while it is low and is not: named, it would be watched for good.
    pub(super) fn levels(&self) -> Vec<SeenLevel> {
        let levels = self.versions.iter().flat_map(|(location, skus)| {
            skus.iter().filter_map(|(sku, last)| {
                let is_named =
                    last.low_stock || !is_selected_while_low(&self.selection, sku, location);
                is_named.then(|| SeenLevel {
                    sku: sku.clone(),
                    location: location.clone(),
                    version: last.version,
                })
            })
        });
        levels.take(SEEN_MAX).collect()
    }
}

/// Whether the level is selected for being low and for nothing else.
fn is_selected_while_low(selection: &Selection, sku: &str, location: &str) -> bool {
    selection.low() && !selection.always(sku, location)
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
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("store".into());
        let sent = [0, 3, 3, 2, 7].map(|version| level("a", version));
        assert_eq!(versions(&seen.news(sent.into(), false)), [0, 3, 7]);
        assert_eq!(seen.repeats(), 2);
        assert_eq!(versions(&seen.news(vec![level("b", 1)], false)), [1]);
    }

    #[test]
    fn a_reset_lets_a_version_fall_once() {
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("store".into());
        seen.news(vec![level("a", 9)], false);
        assert_eq!(versions(&seen.news(vec![level("a", 4)], true)), [4]);
        assert!(seen.news(vec![level("a", 4)], false).is_empty());
        assert_eq!(versions(&seen.news(vec![level("a", 5)], false)), [5]);
    }

    #[test]
    fn a_resume_names_the_last_versions_and_their_store() {
        let mut seen = Seen::new(&WatchTargets::all());
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
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("old".into());
        seen.news(vec![level("a", 9)], false);
        seen.started("new".into());
        assert!(seen.levels().is_empty());
        assert_eq!(versions(&seen.news(vec![level("a", 1)], true)), [1]);
        assert_eq!(seen.repeats(), 0);
    }

    #[test]
    fn what_is_watched_while_it_is_low_is_told_until_it_is_not_and_then_forgotten_on_resume() {
        let low = |version, low_stock| StockLevel {
            low_stock,
            ..level("a", version)
        };
        let mut seen = Seen::new(&WatchTargets::low_only());
        seen.started("store".into());
        let sent = vec![low(1, true), low(2, true)];
        assert_eq!(versions(&seen.news(sent, false)), [1, 2]);
        assert_eq!(seen.levels().len(), 1);
        let sent = vec![low(3, false), low(4, false)];
        assert_eq!(versions(&seen.news(sent, false)), [3]);
        assert!(seen.levels().is_empty());
        assert_eq!(versions(&seen.news(vec![low(5, true)], false)), [5]);
        assert_eq!(seen.repeats(), 0);
    }
}
