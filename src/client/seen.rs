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

/// In place of the version of another store, which means nothing to this one: above all that
/// a level can have, so that whatever the server has of it, it says with `reset`.
const OF_ANOTHER_STORE: i64 = i64::MAX;

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

    /// A stream began: versions of another store mean nothing here. The levels that its
    /// request named are all told anew, and kept until they are: the stream may break before
    /// that, and the next one would not tell of those that this store does not have.
    pub(super) fn started(&mut self, store_id: String) {
        if self.store_id != store_id {
            for (_, _, last) in self.versions.iter_mut() {
                last.version = OF_ANOTHER_STORE;
            }
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
            Some(last) if reset || level.version > last.version || last.is_void() => {
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
    /// Whether it is another store's, and was asked for in vain.
    fn is_void(&self) -> bool {
        self.version == OF_ANOTHER_STORE && !self.is_unheard
    }

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
mod tests;
