//! Counts of what came, cheap enough for every message.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::said::Lag;

/// Longest lag told apart; a longer one counts as this.
const LAG_MAX: Duration = Duration::from_secs(120);

/// Within 1 % of the truth.
const DIGITS: u8 = 2;

/// Ends that are told in words.
const ENDS_MAX: usize = 5;

/// A distribution of lags, in microseconds.
#[derive(Debug)]
pub(super) struct Lags(Histogram<u64>);

impl Lags {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LAG_MAX.as_micros() as u64, DIGITS);
        Self(histogram.expect("the bounds are more than a factor of two apart, the digits below 6"))
    }

    /// A lag below 0 would be two processes that read one clock at different times.
    pub(super) fn record(&mut self, lag_us: i64) {
        self.0.saturating_record(u64::try_from(lag_us).unwrap_or(0));
    }

    pub(super) fn lag(&self) -> Option<Lag> {
        let ms_at = |percent| self.0.value_at_percentile(percent) as f64 / 1_000.0;
        (!self.0.is_empty()).then(|| Lag {
            p50_ms: ms_at(50.0),
            p90_ms: ms_at(90.0),
            p99_ms: ms_at(99.0),
            p99_9_ms: ms_at(99.9),
            max_ms: self.0.max() as f64 / 1_000.0,
        })
    }

    pub(super) fn clear(&mut self) {
        self.0.reset();
    }
}

/// What all streams count together. One thread reads them all, so nobody waits for it.
#[derive(Debug)]
pub(super) struct Tally {
    /// Messages of each stream since the window began.
    pub(super) messages: Vec<u64>,
    /// How old the values were that came since.
    pub(super) ages: Lags,
    /// Bytes of the first message with levels since; 0 before it.
    pub(super) message_bytes: usize,
    /// Between which times it counts or counted, since the reader began.
    pub(super) window: Option<(Duration, Option<Duration>)>,
    /// Which streams are synced, and how many.
    pub(super) synced: Vec<bool>,
    pub(super) synced_count: usize,
    /// Streams that ended although they were synced.
    pub(super) ended: u64,
    /// How the first streams ended, synced or not.
    pub(super) ends: Vec<String>,
}

impl Tally {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            messages: vec![0; streams],
            ages: Lags::new(),
            message_bytes: 0,
            window: None,
            synced: vec![false; streams],
            synced_count: 0,
            ended: 0,
            ends: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, at: Duration) {
        self.messages.fill(0);
        self.ages.clear();
        self.message_bytes = 0;
        self.window = Some((at, None));
    }

    /// Whether what comes now counts.
    pub(super) fn counts(&self) -> bool {
        matches!(self.window, Some((_, None)))
    }

    /// A stream is synced. Says whether all are now.
    pub(super) fn synced(&mut self, stream: usize) -> bool {
        if !std::mem::replace(&mut self.synced[stream], true) {
            self.synced_count += 1;
        }
        self.synced_count == self.synced.len()
    }

    /// A stream ended.
    pub(super) fn ended(&mut self, stream: usize, how: impl FnOnce() -> String) {
        if std::mem::replace(&mut self.synced[stream], false) {
            self.synced_count -= 1;
            self.ended += 1;
        }
        if self.ends.len() < ENDS_MAX {
            self.ends.push(how());
        }
    }
}
