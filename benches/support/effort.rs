//! How much is measured.

use std::fmt;
use std::time::Duration;

/// Repeats of everything, and how long each takes.
pub(crate) struct Effort {
    pub(crate) repeats: usize,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

impl Effort {
    /// This much, unless the caller says otherwise.
    ///
    /// # Errors
    /// `seconds` is no time.
    pub(crate) fn or(self, repeats: Option<usize>, seconds: Option<f64>) -> anyhow::Result<Self> {
        let measured = seconds.map(Duration::try_from_secs_f64).transpose()?;
        Ok(Self {
            repeats: repeats.unwrap_or(self.repeats),
            warmup: self.warmup,
            measured: measured.unwrap_or(self.measured),
        })
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measured, warmup) = (self.measured.as_secs_f64(), self.warmup.as_secs_f64());
        let repeats = self.repeats;
        write!(
            f,
            "median of {repeats} × {measured} s after {warmup} s of warm-up"
        )
    }
}
