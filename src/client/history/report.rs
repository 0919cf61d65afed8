//! What audits found.

use super::violation::{Fault, Violation};

/// Violations that a report remembers in full.
const EXAMPLES_MAX: usize = 100;

/// What an [`Audit`](super::Audit) found, or several of them together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Watchers.
    pub watchers: u64,
    /// Streams that were asked for.
    pub streams: u64,
    /// Streams that the server refused before Started.
    pub refused: u64,
    /// Messages that came.
    pub messages: u64,
    /// Levels in them.
    pub levels: u64,
    /// Versions that these stand for, those folded away included.
    pub versions: u64,
    /// Levels that came with `reset`.
    pub resets: u64,
    /// Goodbyes that came.
    pub goodbyes: u64,
    /// Broken promises, all of them.
    pub violations: u64,
    /// The first hundred.
    pub examples: Vec<Violation>,
}

impl Report {
    pub(super) fn of_one() -> Self {
        Self {
            watchers: 1,
            ..Self::default()
        }
    }

    /// Adds what another one found.
    pub fn add(&mut self, other: Self) {
        self.watchers += other.watchers;
        self.streams += other.streams;
        self.refused += other.refused;
        self.messages += other.messages;
        self.levels += other.levels;
        self.versions += other.versions;
        self.resets += other.resets;
        self.goodbyes += other.goodbyes;
        self.violations += other.violations;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }

    /// A promise about the stream was broken.
    pub(super) fn violation(&mut self, fault: Fault) {
        self.violation_of(String::new, fault);
    }

    /// A promise about a level was broken.
    pub(super) fn violation_of(&mut self, level: impl FnOnce() -> String, fault: Fault) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Violation {
                stream: self.streams,
                level: level(),
                fault,
            });
        }
    }
}
