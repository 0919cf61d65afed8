//! How long calls took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time told apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Two digits: within 1 % of the truth, in 10 KB, so that every task of a load
/// can have its own and the cache still holds them.
const DIGITS: u8 = 2;

/// The distribution of latencies, in microseconds. Each task records its own;
/// they are added up at the end.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u32>);

impl Latencies {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX.as_micros() as u64, DIGITS);
        Self(histogram.expect("the bounds are more than a factor of two apart, the digits below 6"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    pub(super) fn add(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        added.expect("all histograms have the same bounds");
    }

    /// The latency that `percent` of the calls stayed within, in milliseconds.
    pub(super) fn ms_at(&self, percent: f64) -> f64 {
        self.0.value_at_percentile(percent) as f64 / 1_000.0
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}
