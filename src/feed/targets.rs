//! Which levels a watch is told of, and which levels anybody is told of.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound::{Included, Unbounded};

use crate::domain::{LevelKey, Location};

/// What a watch is told of: the union of all fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    /// Levels by name.
    pub keys: BTreeSet<LevelKey>,
    /// Levels by what they are like.
    pub selectors: Selectors,
}

/// Sets of levels that may not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selectors {
    /// Every level of the store.
    pub all: bool,
    /// Every level whose SKU begins with one of these.
    pub prefixes: Prefixes,
    /// Every level at one of these places.
    pub locations: BTreeSet<Location>,
    /// Every level that is low, and once more when it no longer is.
    pub low: bool,
}

impl Selectors {
    /// Whether they can select nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they select a level whatever its value is.
    pub(super) fn names(&self, key: &LevelKey) -> bool {
        self.all || self.locations.contains(&key.location) || self.prefixes.fit(key.sku.as_str())
    }
}

/// Beginnings of SKUs, none of which begins with another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefixes(BTreeSet<Box<str>>);

impl Prefixes {
    /// Whether a text begins with one of them.
    fn fit(&self, text: &str) -> bool {
        // Every text between a prefix and a text that begins with it begins with it
        // too. Since no prefix begins with another, the last one up to `text` is the
        // only one that can fit.
        let last = self
            .0
            .range::<str, _>((Unbounded, Included(text)))
            .next_back();
        last.is_some_and(|prefix| text.starts_with(&**prefix))
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|prefix| &**prefix)
    }
}

impl<'a> FromIterator<&'a str> for Prefixes {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let sorted: BTreeSet<&str> = texts.into_iter().collect();
        let mut prefixes = Self::default();
        for text in sorted {
            if !prefixes.fit(text) {
                prefixes.0.insert(text.into());
            }
        }
        prefixes
    }
}

/// The selectors of all watches together.
#[derive(Debug, Default)]
pub(super) struct Union {
    all: usize,
    low: usize,
    prefixes: Counts<Box<str>>,
    locations: Counts<Location>,
}

impl Union {
    pub(super) fn add(&mut self, selectors: &Selectors) {
        self.all += usize::from(selectors.all);
        self.low += usize::from(selectors.low);
        for prefix in &selectors.prefixes.0 {
            self.prefixes.add(prefix.clone());
        }
        for location in &selectors.locations {
            self.locations.add(location.clone());
        }
    }

    pub(super) fn remove(&mut self, selectors: &Selectors) {
        self.all -= usize::from(selectors.all);
        self.low -= usize::from(selectors.low);
        for prefix in &selectors.prefixes.0 {
            self.prefixes.remove(prefix);
        }
        for location in &selectors.locations {
            self.locations.remove(location);
        }
    }

    /// Whether somebody may have to be told of a level that nobody names. Where
    /// low levels are watched that is every level: one that is no longer low has
    /// to be known, or a snapshot that was read a moment before would stand.
    pub(super) fn covers(&self, key: &LevelKey) -> bool {
        let sku = key.sku.as_str();
        let fits = || (1..=sku.len()).any(|end| self.prefixes.0.contains_key(&sku[..end]));
        self.all > 0
            || self.low > 0
            || self.locations.0.contains_key(&key.location)
            || (!self.prefixes.0.is_empty() && fits())
    }

    /// Whether anybody watches low levels.
    pub(super) fn reads_low(&self) -> bool {
        self.low > 0
    }

    pub(super) fn selectors(&self) -> Selectors {
        Selectors {
            all: self.all > 0,
            prefixes: self.prefixes.0.keys().map(|prefix| &**prefix).collect(),
            locations: self.locations.0.keys().cloned().collect(),
            low: self.low > 0,
        }
    }
}

/// How often each value is there.
#[derive(Debug)]
struct Counts<T>(HashMap<T, usize>);

impl<T> Default for Counts<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Counts<T> {
    fn add(&mut self, value: T) {
        *self.0.entry(value).or_default() += 1;
    }

    fn remove(&mut self, value: &T) {
        if let Some(count) = self.0.get_mut(value) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_fit_what_one_of_them_begins() {
        let prefixes = Prefixes::from_iter(["ab", "a.", "abc", "b", "ab"]);
        assert_eq!(prefixes.iter().collect::<Vec<_>>(), ["a.", "ab", "b"]);
        for (text, fits) in [
            ("ab", true),
            ("abz", true),
            ("a.1", true),
            ("bb", true),
            ("a", false),
            ("ac", false),
            ("", false),
            ("c", false),
        ] {
            assert_eq!(prefixes.fit(text), fits, "{text}");
        }
    }
}
