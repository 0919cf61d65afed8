//! Events that Kafka refuses for good, such as one that is larger than its topic takes.
//!
//! Nothing is lost, and nobody else waits while few rows are held back: the key of a
//! refused event stops, since what comes after it must not overtake it; rows with events of
//! that key keep these and stay in the outbox; all other events go on, until
//! [`HELD_ROWS_MAX`] rows have stayed. What is stopped is offered again from time to time,
//! because what is in the way is a setting of Kafka's, which people change. Errors in the
//! log and a gauge tell them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::events::{Event, Key, Topic};

/// Rows that may be held back in part. Beyond, the relay waits as a whole: the outbox is
/// the place to keep rows, not its memory.
const HELD_ROWS_MAX: usize = 1_000;

/// What is held back.
#[derive(Debug)]
pub(super) struct Refused {
    /// What goes nowhere: the topic and the key's text.
    stopped: HashSet<(Topic, String)>,
    /// Rows all of whose other events are acknowledged, and which are not.
    held: BTreeMap<i64, Vec<u32>>,
    /// Rows that were held: what is left to send of them.
    rest: BTreeMap<i64, Vec<u32>>,
    retry: Duration,
    retry_at: Option<Instant>,
}

impl Refused {
    pub(super) fn new(retry: Duration) -> Self {
        Self {
            stopped: HashSet::new(),
            held: BTreeMap::new(),
            rest: BTreeMap::new(),
            retry,
            retry_at: None,
        }
    }

    /// How many keys go nowhere.
    pub(super) fn keys(&self) -> usize {
        self.stopped.len()
    }

    /// Stops the key of `event`.
    pub(super) fn stop(&mut self, event: &Event<'_>) {
        self.stopped.insert((event.topic, text(event.key)));
    }

    /// A producer begins. The time until what is stopped is offered again counts from
    /// here, so that all others have that time, however long it took to begin.
    pub(super) fn begin(&mut self) {
        self.retry_at = (!self.stopped.is_empty()).then(|| Instant::now() + self.retry);
    }

    /// Of a row's events, by their place, those to send and those to hold back.
    pub(super) fn divide(&self, row: i64, events: &[Event<'_>]) -> (Vec<u32>, Vec<u32>) {
        let places = match self.rest.get(&row) {
            Some(rest) => rest.clone(),
            None => (0..events.len() as u32).collect(),
        };
        if self.stopped.is_empty() {
            return (places, Vec::new());
        }
        places.into_iter().partition(|place| {
            let event = &events[*place as usize];
            !self.stopped.contains(&(event.topic, text(event.key)))
        })
    }

    /// All of `row` has been acknowledged but for `held`; whether it can be deleted.
    pub(super) fn settle(&mut self, row: i64, held: Vec<u32>) -> bool {
        self.rest.remove(&row);
        let is_done = held.is_empty();
        if !is_done {
            self.held.insert(row, held);
            // Once: what was on its way when it became full is held beyond.
            if self.held.len() == HELD_ROWS_MAX {
                let (rows, keys) = (HELD_ROWS_MAX, self.keys());
                tracing::error!(rows, keys, "too much is held back; all events wait");
            }
        }
        is_done
    }

    /// Rows that are held back.
    pub(super) fn rows(&self) -> impl Iterator<Item = i64> {
        self.held.keys().copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= HELD_ROWS_MAX
    }

    /// Whether what is stopped shall be offered again, once nothing is under way.
    pub(super) fn is_due(&self) -> bool {
        self.retry_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Offers it again: held rows are taken from the outbox like any, and first, and what
    /// is left of them is sent.
    pub(super) fn offer(&mut self) {
        self.stopped.clear();
        self.rest.append(&mut self.held);
        self.retry_at = None;
    }
}

fn text(key: Key<'_>) -> String {
    match key {
        Key::Sku(sku) => sku.to_owned(),
        Key::Order(id) => id.to_string(),
    }
}
