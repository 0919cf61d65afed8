//! What a watch has seen: what makes it resume, and what keeps it from going back.

use prost::Message as _;

use super::WatchTargets;
use super::levels::Levels;
use super::proto::{SeenLevel, StockLevel};
use super::targets::Selection;

/// Most levels that a watch may name when it resumes; the server's bound.
const SEEN_MAX: usize = 100_000;

/// Most bytes of the request that names them: what a server takes unless it is told
/// otherwise. A larger one would end the watch.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// What the store's id takes of it: a UUID as text, with its tag and its length.
const STORE_ID_BYTES: usize = 38;

/// The last version seen of every level.
///
/// Pure: messages go in, what is news comes out.
#[derive(Debug)]
pub(super) struct Seen {
    selection: Selection,
    /// The store that the versions belong to; empty before the first stream.
    store_id: String,
    versions: Levels<Last>,
    /// Most bytes of the levels that a resume names; 0 when it shall name none.
    bytes_max: usize,
    /// How many levels the last resume named …
    named: usize,
    /// … and whether it left out others, which are sent again, or are gone.
    left_out: bool,
    /// Levels that came although they were no news.
    repeats: u64,
}

/// What came last of a level.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    version: i64,
    low_stock: bool,
    /// Whether the last resume left it out and nothing was heard of it since.
    is_unheard: bool,
}

impl Seen {
    pub(super) fn new(targets: &WatchTargets) -> Self {
        let targets_bytes = targets.request("", Vec::new()).encoded_len();
        Self {
            selection: targets.selection(),
            store_id: String::new(),
            versions: Levels::default(),
            bytes_max: REQUEST_BYTES_MAX.saturating_sub(targets_bytes + STORE_ID_BYTES),
            named: 0,
            left_out: false,
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
            self.versions = Levels::default();
            self.store_id = store_id;
        }
    }

    /// Keeps of `levels` what is news. With `reset` everything is.
    pub(super) fn news(&mut self, mut levels: Vec<StockLevel>, reset: bool) -> Vec<StockLevel> {
        levels.retain(|level| self.is_news(level, reset));
        levels
    }

    fn is_news(&mut self, level: &StockLevel, reset: bool) -> bool {
        let now = Last {
            version: level.version,
            low_stock: level.low_stock,
            is_unheard: false,
        };
        match self.versions.get_mut(&level.sku, &level.location) {
            Some(last) if reset || level.version > last.version => {
                let was_low = std::mem::replace(last, now).low_stock;
                // A level that was low when the watch resumed is watched by name, and
                // goes on being sent when it no longer is.
                let is_wanted = was_low || now.low_stock || reset;
                is_wanted || !is_selected_while_low(&self.selection, &level.sku, &level.location)
            }
            Some(last) => {
                // What a resume left out, the server cannot know: nor that it has fallen,
                // which it says of what is named.
                last.is_unheard &= level.version < last.version;
                if !self.left_out {
                    self.repeats += 1;
                }
                false
            }
            None => {
                *self.versions.entry(&level.sku, &level.location) = now;
                true
            }
        }
    }

    /// What to tell the server when the watch resumes. Levels beyond its bounds are left out:
    /// they are sent again, and dropped here. Those that are not are [`unheard`](Self::unheard).
    pub(super) fn levels(&mut self) -> Vec<SeenLevel> {
        let (mut levels, mut bytes) = (Vec::new(), 0);
        self.left_out = false;
        for (sku, location, last) in self.versions.iter_mut() {
            last.is_unheard = false;
            // What is watched only while it is low and is not would be watched for good.
            if !last.low_stock && is_selected_while_low(&self.selection, sku, location) {
                continue;
            }
            if !self.left_out {
                let level = last.seen(sku, location);
                bytes += field_bytes(&level);
                if levels.len() < SEEN_MAX && bytes <= self.bytes_max {
                    levels.push(level);
                    continue;
                }
            }
            (self.left_out, last.is_unheard) = (true, true);
        }
        self.named = levels.len();
        levels
    }

    /// What the last resume left out and the stream has not sent, or with a version below
    /// the last. For when it is synced: then they are gone, no longer low, or have fallen
    /// with the store. Once for each resume.
    pub(super) fn unheard(&mut self) -> Vec<SeenLevel> {
        let mut unheard = Vec::new();
        if self.left_out {
            for (sku, location, last) in self.versions.iter_mut() {
                if std::mem::take(&mut last.is_unheard) {
                    unheard.push(last.seen(sku, location));
                }
            }
        }
        unheard
    }

    /// Names no level from now on, if that is less than the last resume named; says
    /// whether it is so.
    pub(super) fn name_none(&mut self) -> bool {
        self.bytes_max = 0;
        self.named > 0
    }
}

impl Last {
    fn seen(&self, sku: &str, location: &str) -> SeenLevel {
        SeenLevel {
            sku: sku.to_owned(),
            location: location.to_owned(),
            version: self.version,
        }
    }
}

/// What a level takes in a request, with its tag and its length.
fn field_bytes(level: &SeenLevel) -> usize {
    let length = level.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

/// Whether the level is selected for being low and for nothing else.
fn is_selected_while_low(selection: &Selection, sku: &str, location: &str) -> bool {
    selection.low() && !selection.always(sku, location)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proto::StockKey;

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
    fn a_resume_after_a_large_store_is_a_request_that_a_server_takes() {
        let long = |number: u32| format!("{number:064}");
        let names = (1..10_000).map(|number| StockKey {
            sku: long(number),
            location: "x".repeat(64),
        });
        // 1.4 MB of selectors, and 4.6 MB of levels if all were named.
        let targets = WatchTargets::all().and(WatchTargets::levels(names));
        let sent: Vec<_> = (0..60_000).map(|number| level(&long(number), 1)).collect();
        let mut seen = Seen::new(&targets);
        seen.started(uuid::Uuid::nil().to_string());
        assert_eq!(seen.news(sent.clone(), false).len(), sent.len());
        let named = seen.levels();
        let bytes = targets.request(seen.store_id(), named).encoded_len();
        let room = REQUEST_BYTES_MAX - bytes;
        assert!(room < 100, "{room} bytes are left");
        assert!(seen.news(sent, false).is_empty());
        assert_eq!(seen.repeats(), 0, "not all had been named");
    }

    #[test]
    fn what_a_resume_named_in_full_is_repeated_when_it_comes_again() {
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("store".into());
        seen.news(vec![level("a", 1), level("b", 1)], false);
        assert_eq!(seen.levels().len(), 2);
        assert!(seen.news(vec![level("a", 1)], false).is_empty());
        assert_eq!(seen.repeats(), 1);
    }

    #[test]
    fn once_no_level_shall_be_named_what_comes_again_is_dropped_and_no_repeat() {
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("store".into());
        seen.news(vec![level("a", 3)], false);
        assert_eq!(seen.levels().len(), 1);
        assert!(seen.name_none());
        assert!(seen.levels().is_empty());
        let sent = vec![level("a", 3), level("a", 4)];
        assert_eq!(versions(&seen.news(sent, false)), [4]);
        assert_eq!(seen.repeats(), 0);
        assert!(!seen.name_none(), "it cannot name less than none");
    }

    #[test]
    fn what_was_left_out_and_is_not_sent_is_unheard_once() {
        let mut seen = Seen::new(&WatchTargets::all());
        seen.started("store".into());
        let there = ["same", "sold", "fallen", "gone"].map(|sku| level(sku, 5));
        seen.news(there.into(), false);
        assert_eq!(seen.levels().len(), 4);
        assert!(seen.unheard().is_empty(), "all were named");
        assert!(seen.name_none());
        assert!(seen.levels().is_empty());
        let sent = vec![level("same", 5), level("sold", 6), level("fallen", 4)];
        assert_eq!(versions(&seen.news(sent, false)), [6]);
        let mut unheard = seen.unheard();
        unheard.sort_by(|a, b| a.sku.cmp(&b.sku));
        let named = unheard
            .iter()
            .map(|level| (level.sku.as_str(), level.version));
        assert_eq!(named.collect::<Vec<_>>(), [("fallen", 5), ("gone", 5)]);
        assert!(seen.unheard().is_empty());
        // The next resume leaves them out again.
        assert!(seen.levels().is_empty());
        assert_eq!(seen.unheard().len(), 4);
    }

    #[test]
    fn what_is_low_and_not_named_is_unheard_unless_it_is_sent_so_that_its_end_is_told() {
        let low = |sku, version, low_stock| StockLevel {
            low_stock,
            ..level(sku, version)
        };
        let mut seen = Seen::new(&WatchTargets::low_only());
        seen.started("store".into());
        seen.news(vec![low("still", 1, true), low("ended", 1, true)], false);
        assert_eq!(seen.levels().len(), 2);
        assert!(seen.name_none());
        assert!(seen.levels().is_empty());
        assert!(seen.news(vec![low("still", 1, true)], false).is_empty());
        let unheard = seen.unheard();
        assert_eq!(
            unheard.iter().map(|it| &it.sku).collect::<Vec<_>>(),
            ["ended"]
        );
        // As the answer to a question, and later in the stream.
        for sku in ["ended", "still"] {
            let sent = vec![low(sku, 2, false)];
            assert_eq!(versions(&seen.news(sent, false)), [2], "{sku}");
        }
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
