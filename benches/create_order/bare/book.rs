//! The batches of the bare client, made up from levels that it keeps itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::index;
use rand::{Rng as _, RngExt as _};
use uuid::Uuid;

/// Where all stock of the bench lies.
pub(super) const LOCATION: &str = "main";

/// A stock level as its last commit leaves it.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// Lives as long as the process: it is in every batch.
    pub(super) sku: &'static str,
    pub(super) on_hand: i64,
    pub(super) version: i64,
    pub(super) threshold: i64,
}

/// What a batch writes, column by column, in the order that `commit_batch` asks for.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) time_us: i64,
    pub(super) request_ids: Vec<String>,
    pub(super) fingerprints: Vec<Vec<u8>>,
    pub(super) order_ids: Vec<Uuid>,
    pub(super) lines_json: Vec<String>,
    pub(super) movements: Movements,
    pub(super) levels: Levels,
}

/// Ascending by SKU and version.
#[derive(Debug, Default)]
pub(super) struct Movements {
    pub(super) sku: Vec<&'static str>,
    pub(super) version: Vec<i64>,
    pub(super) on_hand: Vec<i64>,
    pub(super) order_id: Vec<Uuid>,
}

/// Ascending by SKU.
#[derive(Debug, Default)]
pub(super) struct Levels {
    pub(super) sku: Vec<&'static str>,
    pub(super) on_hand: Vec<i64>,
    pub(super) version: Vec<i64>,
    pub(super) threshold: Vec<i64>,
    pub(super) expected: Vec<i64>,
    /// Units that the batch takes, which are as many as its movements.
    pub(super) movements: Vec<i64>,
}

impl Batch {
    pub(super) fn orders(&self) -> usize {
        self.order_ids.len()
    }

    pub(super) fn lines(&self) -> usize {
        self.movements.sku.len()
    }
}

/// The levels of one connection and what is ordered of them.
pub(super) struct Book {
    /// In ascending order of their SKUs.
    levels: Vec<Level>,
    counts: Arc<[usize]>,
    random: SmallRng,
    began: Instant,
    began_us: i64,
    last_us: i64,
}

/// One order's line: the place of its level, the order's place in the batch, and what
/// the level is after it.
struct Line {
    level: usize,
    order: usize,
    version: i64,
    on_hand: i64,
}

impl Book {
    pub(super) fn new(levels: Vec<Level>, counts: Arc<[usize]>) -> Self {
        Self {
            levels,
            counts,
            random: rand::make_rng(),
            began: Instant::now(),
            began_us: now_us(),
            last_us: 0,
        }
    }

    /// The next batch, of `orders` orders that take one unit of each of their products.
    pub(super) fn batch(&mut self, orders: usize) -> Batch {
        let mut batch = Batch {
            time_us: self.next_time_us(),
            ..Batch::default()
        };
        let mut lines = Vec::with_capacity(orders);
        let mut expected = BTreeMap::new();
        for order in 0..orders {
            let mut json = String::from("[");
            for level in self.pick() {
                let before = self.levels[level].version;
                expected.entry(level).or_insert(before);
                lines.push(self.take(level, order, &mut json));
            }
            json.push(']');
            batch.lines_json.push(json);
            // As the load generator's: ids that begin with the time ascend.
            batch.request_ids.push(Uuid::now_v7().to_string());
            batch.order_ids.push(Uuid::now_v7());
            let mut fingerprint = vec![0; 16];
            self.random.fill_bytes(&mut fingerprint);
            batch.fingerprints.push(fingerprint);
        }
        // Stable: the versions of a level ascend already.
        lines.sort_by_key(|line| line.level);
        for line in lines {
            batch.movements.sku.push(self.levels[line.level].sku);
            batch.movements.version.push(line.version);
            batch.movements.on_hand.push(line.on_hand);
            batch.movements.order_id.push(batch.order_ids[line.order]);
        }
        for (place, expected) in expected {
            batch.levels.push(&self.levels[place], expected);
        }
        batch
    }

    fn pick(&mut self) -> Vec<usize> {
        let count = self.counts[self.random.random_range(0..self.counts.len())];
        if count == 1 {
            vec![self.random.random_range(0..self.levels.len())]
        } else {
            index::sample(&mut self.random, self.levels.len(), count).into_vec()
        }
    }

    fn take(&mut self, place: usize, order: usize, json: &mut String) -> Line {
        let level = &mut self.levels[place];
        level.version += 1;
        level.on_hand -= 1;
        let comma = if json.len() > 1 { "," } else { "" };
        let (sku, version) = (level.sku, level.version);
        // The form that the server stores. Writing to a String cannot fail.
        let _ = write!(
            json,
            r#"{comma}{{"sku":"{sku}","location":"{LOCATION}","quantity":1,"version":{version}}}"#
        );
        Line {
            level: place,
            order,
            version,
            on_hand: level.on_hand,
        }
    }

    /// No two batches have the same: the books tell commits apart by it.
    fn next_time_us(&mut self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.last_us = (self.began_us + elapsed).max(self.last_us + 1);
        self.last_us
    }
}

impl Levels {
    fn push(&mut self, level: &Level, expected: i64) {
        self.sku.push(level.sku);
        self.on_hand.push(level.on_hand);
        self.version.push(level.version);
        self.threshold.push(level.threshold);
        self.expected.push(expected);
        self.movements.push(level.version - expected);
    }
}

/// The time of day, as the ids know it.
fn now_us() -> i64 {
    let time = Uuid::now_v7().get_timestamp().map(|time| time.to_unix());
    let (seconds, nanos) = time.unwrap_or_default();
    let time = Duration::new(seconds, nanos);
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
