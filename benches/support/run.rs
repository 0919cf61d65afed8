//! A run of many measurements: what ends it early, and what failed in it.
//!
//! Ctrl-C and SIGTERM end it with an error after the measurement under way, which a
//! terminal's Ctrl-C ends as well, since children get it too: so whatever was started is
//! ended, and folders are removed, on the way out. The second one ends it at once;
//! children end with it (`processes`), and folders stay.
//!
//! A measurement that fails costs the run that one alone. It is told in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;

use super::signals::{INTERRUPTED, end_at_once, listen};

/// What depends on a measurement that failed fails with it; so many mean that the rest
/// would, too, and each may take its time.
const FAILURES_MAX: usize = 10;

/// One run.
pub(crate) struct Run {
    is_interrupted: Arc<AtomicBool>,
    failures: Vec<String>,
}

impl Run {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// That cannot be done.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::clone(&is_interrupted);
        listen(async move |mut signals| {
            signals.next().await;
            interrupted.store(true, Ordering::Relaxed);
            eprintln!("ending after this measurement; once more ends at once");
            signals.next().await;
            end_at_once(INTERRUPTED);
        })?;
        Ok(Self {
            is_interrupted,
            failures: Vec::new(),
        })
    }

    /// To be asked between measurements.
    ///
    /// # Errors
    /// The run is to end.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let is_interrupted = self.is_interrupted.load(Ordering::Relaxed);
        ensure!(!is_interrupted, "interrupted; nothing was written");
        Ok(())
    }

    /// Takes what came of a measurement: none when it failed.
    ///
    /// # Errors
    /// The run is to end.
    pub(crate) fn take<T>(&mut self, measured: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        self.check()?;
        match measured {
            Ok(measured) => Ok(Some(measured)),
            Err(error) => {
                eprintln!("FAILED: {error:#}");
                self.failures.push(format!("not measured: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Whether so much has failed that nothing more shall be measured.
    pub(crate) fn is_given_up(&self) -> bool {
        self.failures.len() >= FAILURES_MAX
    }

    /// What failed, in words.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }
}
