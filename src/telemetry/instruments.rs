//! What counts and measures: handles that whoever acts keeps, and that cost an
//! atomic operation each.
//!
//! Counters and gauges live in cells of our own, which the exporter is told of
//! when somebody reads it: so they can be read from within too, and counting is
//! one addition. Samples of a histogram go to the exporter as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only rises. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Raises it by `n`, or lowers it when `n` is negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces it, for what is measured elsewhere. Never beside [`Gauge::add`]; of several who
    /// set it, each sets what is so at that moment.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `n` in until the returned value is dropped, which also happens
    /// when a caller hangs up or a task panics.
    #[must_use = "dropped, it is counted out again"]
    pub fn hold(&self, n: i64) -> Held {
        self.add(n);
        Held {
            gauge: self.clone(),
            n,
        }
    }
}

/// A share of a [`Gauge`], given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    gauge: Gauge,
    n: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.add(-self.n);
    }
}

/// A distribution, in buckets. Clones share it.
///
/// Each sample reads a clock and lies in memory, 16 bytes of it, until the
/// exporter is read or kept up (each second). So what can be recorded once a
/// commit is not recorded once an order, where it says the same.
#[derive(Debug, Clone)]
pub struct Histogram(pub(super) metrics::Histogram);

impl Histogram {
    /// Records a number in the unit of the metric.
    pub fn record(&self, value: f64) {
        self.0.record(value);
    }

    /// Records a time, for metrics in seconds.
    pub fn record_time(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }
}

/// A [`Histogram`] of what happens too often to measure each time.
#[derive(Debug)]
pub struct Sampled {
    histogram: Histogram,
    /// Of how many one is measured.
    of: u32,
    count: AtomicU32,
}

impl Sampled {
    pub(super) fn new(histogram: Histogram, of: u32) -> Self {
        let count = AtomicU32::new(0);
        Self {
            histogram,
            of,
            count,
        }
    }

    /// Whether this one is to be measured: the first is, and then each `of`th.
    pub fn is_due(&self) -> bool {
        self.count
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(self.of)
    }

    /// Records a time, for metrics in seconds.
    pub fn record_time(&self, time: Duration) {
        self.histogram.record_time(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gauge_holds_is_given_back_once() {
        let gauge = Gauge::default();
        let three = gauge.hold(3);
        let one = gauge.hold(1);
        assert_eq!(gauge.get(), 4);
        drop(three);
        assert_eq!(gauge.get(), 1);
        drop(one);
        assert_eq!(gauge.get(), 0);
    }
}
