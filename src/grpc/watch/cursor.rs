//! Where an EVERY_CHANGE stream stands in the ledger: pure, no I/O.
//!
//! Knows the last version of each level, which levels may have more, and what to read
//! next. Promises that what it lets through is the next version of its level: a page
//! with a hole is an error, never skipped over. Memory is O(targets).

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use crate::domain::{LevelKey, Version};
use crate::storage::ChangesPage;

/// A level's ledger does not go on where it must.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    key: LevelKey,
    /// The last version that the reader has.
    last: Version,
    /// What came instead of the next one; nothing, where there must be more.
    found: Option<Version>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, last, found } = self;
        match found {
            Some(found) => write!(f, "the ledger of {key} goes on with {found} after {last}"),
            None => write!(f, "the ledger of {key} ends at {last}, its level does not"),
        }
    }
}

impl std::error::Error for Gap {}

/// How far one reader has come.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The last version sent or seen of each level that has been begun.
    last: HashMap<LevelKey, Version>,
    /// Levels that may have more, in the order in which they are read.
    due: VecDeque<LevelKey>,
    /// What is in `due`.
    is_due: HashSet<LevelKey>,
    /// Versions that are still to be reached before the reader is up to date with
    /// where the ledger stood when the stream began.
    owed: HashMap<LevelKey, Version>,
}

impl Cursor {
    /// A reader that has `version` of a level, of which the store had `present`.
    pub(super) fn begin(&mut self, key: LevelKey, version: Version, present: Version) {
        if version < present {
            self.owed.insert(key.clone(), present);
            self.wake(key.clone());
        }
        self.last.insert(key, version);
    }

    /// To be called for a level of which there may be more.
    pub(super) fn wake(&mut self, key: LevelKey) {
        if self.is_due.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    /// To be called for a level of which somebody has seen `version`.
    pub(super) fn hear(&mut self, key: &LevelKey, version: Version) {
        // What has not begun is none of the reader's.
        if self.last.get(key).is_some_and(|last| *last < version) {
            self.wake(key.clone());
        }
    }

    /// Whether everything that was there when the stream began has been read.
    pub(super) fn is_caught_up(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether there may be more to read.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes at most `levels_max` of the levels that may have more, each with the last
    /// version that the reader has. To be answered with [`Cursor::advance`].
    pub(super) fn next(&mut self, levels_max: usize) -> Vec<(LevelKey, Version)> {
        let count = self.due.len().min(levels_max);
        let keys = self.due.drain(..count);
        let asked = keys.map(|key| {
            self.is_due.remove(&key);
            let last = self.last.get(&key).copied().unwrap_or_default();
            (key, last)
        });
        asked.collect()
    }

    /// Goes on by what was read for `asked`.
    ///
    /// # Errors
    /// A level's movements do not follow the last one without a gap, or end before the
    /// version at which its level was.
    pub(super) fn advance(
        &mut self,
        asked: Vec<(LevelKey, Version)>,
        page: &ChangesPage,
    ) -> Result<(), Gap> {
        for level in &page.levels {
            let last = self.last.entry(level.key.clone()).or_default();
            if level.version != last.next() {
                return Err(Gap {
                    key: level.key.clone(),
                    last: *last,
                    found: Some(level.version),
                });
            }
            *last = level.version;
            if self.owed.get(&level.key).is_some_and(|to| *to <= *last) {
                self.owed.remove(&level.key);
            }
        }
        if page.cut {
            self.ask_again(asked);
            return Ok(());
        }
        // Whatever was asked for has been read to its end.
        for (key, _) in asked {
            if self.owed.contains_key(&key) {
                let last = self.last.get(&key).copied().unwrap_or_default();
                let found = None;
                return Err(Gap { key, last, found });
            }
        }
        Ok(())
    }

    /// A full page says of no level that it is at its end. Those that it did not come
    /// to are read first, so that a long history does not keep short ones waiting.
    fn ask_again(&mut self, asked: Vec<(LevelKey, Version)>) {
        let mut first = Vec::new();
        for (key, before) in asked {
            if self.last.get(&key).is_some_and(|last| *last > before) {
                self.wake(key);
            } else if self.is_due.insert(key.clone()) {
                first.push(key);
            }
        }
        for key in first.into_iter().rev() {
            self.due.push_front(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{key, level};

    fn page(rows: &[(&str, i64)], cut: bool) -> ChangesPage {
        let levels = rows.iter().map(|&(sku, version)| level(sku, version, 0));
        ChangesPage {
            levels: levels.collect(),
            cut,
        }
    }

    fn cursor(levels: &[(&str, i64, i64)]) -> Cursor {
        let mut cursor = Cursor::default();
        for &(sku, seen, present) in levels {
            cursor.begin(key(sku), Version::new(seen), Version::new(present));
        }
        cursor
    }

    fn asked(cursor: &mut Cursor, levels_max: usize) -> Vec<(String, i64)> {
        let next = cursor.next(levels_max).into_iter();
        next.map(|(key, last)| (key.sku.to_string(), last.number()))
            .collect()
    }

    #[test]
    fn only_what_is_behind_is_read_and_then_it_is_caught_up() {
        let mut cursor = cursor(&[("a", 0, 2), ("b", 5, 5), ("c", 0, 0)]);
        assert!(!cursor.is_caught_up() && cursor.is_due());
        let next = cursor.next(10);
        assert_eq!(next, [(key("a"), Version::NONE)]);
        let read = page(&[("a", 1), ("a", 2), ("a", 3)], false);
        cursor.advance(next, &read).expect("gapless");
        assert!(cursor.is_caught_up() && !cursor.is_due());
    }

    #[test]
    fn a_wake_reads_on_from_the_last_version() {
        let mut cursor = cursor(&[("a", 3, 3)]);
        cursor.hear(&key("a"), Version::new(3));
        cursor.hear(&key("not-begun"), Version::new(3));
        assert!(!cursor.is_due(), "there is nothing new");
        cursor.hear(&key("a"), Version::new(5));
        cursor.hear(&key("a"), Version::new(6));
        assert_eq!(asked(&mut cursor, 10), [("a".to_owned(), 3)]);
        // Woken while it is read: it is read once more.
        cursor.hear(&key("a"), Version::new(7));
        let asked_for = vec![(key("a"), Version::new(3))];
        let read = page(&[("a", 4), ("a", 5), ("a", 6)], false);
        cursor.advance(asked_for, &read).expect("gapless");
        assert_eq!(asked(&mut cursor, 10), [("a".to_owned(), 6)]);
    }

    #[test]
    fn a_long_history_does_not_keep_short_ones_waiting() {
        let mut cursor = cursor(&[("long", 0, 9), ("short", 0, 1), ("later", 0, 1)]);
        let next = cursor.next(2);
        let read = page(&[("long", 1), ("long", 2)], true);
        cursor.advance(next, &read).expect("gapless");
        let order: Vec<String> = asked(&mut cursor, 10).into_iter().map(|it| it.0).collect();
        assert_eq!(order, ["short", "later", "long"]);
    }

    #[test]
    fn a_hole_at_the_begin_or_within_is_an_error() {
        for rows in [&[("a", 4)][..], &[("a", 3), ("a", 5)], &[("a", 2)]] {
            let mut cursor = cursor(&[("a", 2, 9)]);
            let next = cursor.next(10);
            let gap = cursor.advance(next, &page(rows, true)).expect_err("a gap");
            assert_eq!(gap.key, key("a"));
        }
    }

    #[test]
    fn a_ledger_that_ends_below_its_level_is_an_error() {
        let mut cursor = cursor(&[("a", 2, 9)]);
        let next = cursor.next(10);
        let gap = cursor.advance(next, &page(&[("a", 3)], false));
        let gap = gap.expect_err("4 to 9 are missing");
        assert_eq!((gap.last, gap.found), (Version::new(3), None));
    }
}
