//! What a hint says: `ORIGIN SKU@LOCATION:VERSION …`, or `ORIGIN *` for "anything".
//!
//! ORIGIN is the sender, as 16 hexadecimal digits. `@LOCATION` is left out where it is
//! `main`. None of the three separators can be part of a name.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::domain::{LevelKey, Location, Sku, Version};
use crate::storage::HINT_BYTES_MAX;

const ORIGIN_DIGITS: usize = 16;

/// What a level adds besides its names: separators, and a version of 12 digits.
const LEVEL_BYTES: usize = 15;

/// What has changed since the last hint. Bounded by what fits in a hint.
#[derive(Debug, Default)]
pub(super) struct Changed {
    versions: HashMap<LevelKey, Version>,
    /// The room that they take, or a little more.
    bytes: usize,
    /// More than fits: which levels it was is forgotten.
    everything: bool,
}

impl Changed {
    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty() && !self.everything
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Forgets which levels it was.
    pub(super) fn everything(&mut self) {
        self.versions.clear();
        self.bytes = 0;
        self.everything = true;
    }

    /// A level is at a version now.
    pub(super) fn add(&mut self, key: &LevelKey, version: Version) {
        if self.everything {
            return;
        }
        if let Some(known) = self.versions.get_mut(key) {
            *known = version.max(*known);
            return;
        }
        self.bytes += key.sku.as_str().len() + key.location.as_str().len() + LEVEL_BYTES;
        if ORIGIN_DIGITS + self.bytes > HINT_BYTES_MAX {
            return self.everything();
        }
        self.versions.insert(key.clone(), version);
    }

    /// Takes what has changed, as a hint of `origin`.
    pub(super) fn take(&mut self, origin: u64) -> String {
        let mut text = format!("{origin:016x}");
        if !self.everything {
            for (LevelKey { sku, location }, version) in self.versions.drain() {
                let written = match location.as_str() {
                    Location::MAIN => write!(text, " {sku}:{version}"),
                    _ => write!(text, " {sku}@{location}:{version}"),
                };
                written.expect("a String takes all");
            }
        }
        if self.everything || text.len() > HINT_BYTES_MAX {
            text.truncate(ORIGIN_DIGITS);
            text.push_str(" *");
        }
        self.bytes = 0;
        self.everything = false;
        text
    }
}

/// What somebody has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// This process itself has: the feed knows.
    Own,
    /// These levels are at these versions, or were.
    Levels(Vec<(LevelKey, Version)>),
    /// Something has changed. Also whatever is not understood: a newer release may say
    /// more, and a re-read is never wrong.
    Everything,
}

impl Hint {
    /// Reads a hint that `own` may have sent.
    pub(super) fn read(text: &str, own: u64) -> Self {
        let (origin, said) = text.split_once(' ').unwrap_or((text, ""));
        let digits = origin.len() == ORIGIN_DIGITS;
        match u64::from_str_radix(origin, 16) {
            Ok(origin) if digits && origin == own => Self::Own,
            Ok(_) if digits => {
                let levels = said.split(' ').map(read_level);
                levels
                    .collect::<Option<_>>()
                    .map_or(Self::Everything, Self::Levels)
            }
            _ => Self::Everything,
        }
    }
}

fn read_level(text: &str) -> Option<(LevelKey, Version)> {
    let (name, version) = text.split_once(':')?;
    let (sku, location) = name.split_once('@').unwrap_or((name, Location::MAIN));
    let version = version.parse().ok().filter(|version| *version >= 0)?;
    let key = LevelKey {
        sku: Sku::new(sku).ok()?,
        location: Location::new(location).ok()?,
    };
    Some((key, Version::new(version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{key, key_at};

    fn changed(levels: &[(&LevelKey, i64)]) -> Changed {
        let mut changed = Changed::default();
        for &(key, version) in levels {
            changed.add(key, Version::new(version));
        }
        changed
    }

    #[test]
    fn a_hint_says_the_highest_version_of_each_level() {
        let (here, there) = (key("85123A"), key_at("85123A", "north-1"));
        let mut changed = changed(&[(&here, 8), (&there, 3), (&here, 9), (&here, 7)]);
        let text = changed.take(0xabc);
        assert!(changed.is_empty());
        assert!(text.starts_with("0000000000000abc "), "{text}");
        let Hint::Levels(mut levels) = Hint::read(&text, 1) else {
            panic!("{text}");
        };
        levels.sort_unstable();
        assert_eq!(levels, [(here, Version::new(9)), (there, Version::new(3))]);
        assert_eq!(Hint::read(&text, 0xabc), Hint::Own);
    }

    #[test]
    fn more_than_fits_says_everything_and_is_forgotten() {
        let keys: Vec<LevelKey> = (0..10_000)
            .map(|i| key_at(&format!("{i:064}"), &"x".repeat(64)))
            .collect();
        let mut changed = Changed::default();
        for (i, key) in keys.iter().enumerate() {
            changed.add(key, Version::new(i64::MAX - i as i64));
            assert!(changed.versions.len() * (64 + 64) < HINT_BYTES_MAX);
        }
        assert!(changed.is_everything());
        assert_eq!(changed.take(7), "0000000000000007 *");
        assert!(changed.is_empty());
        for key in &keys[..48] {
            changed.add(key, Version::new(i64::MAX));
        }
        // Short of the bound by what was reckoned, above it by what came of it.
        let text = changed.take(7);
        assert!(text.len() <= HINT_BYTES_MAX, "{}", text.len());
    }

    #[test]
    fn what_is_not_understood_means_everything() {
        for text in [
            "",
            "*",
            "hello world",
            "0000000000000007",
            "0000000000000007 ",
            "0000000000000007 *",
            "0000000000000007 a:1 *",
            "0000000000000007 a:-1",
            "0000000000000007 a@b@c:1",
            "0000000000000007 a:99999999999999999999",
            "7 a:1",
        ] {
            assert_eq!(Hint::read(text, 1), Hint::Everything, "{text:?}");
        }
    }
}
