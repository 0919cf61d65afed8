//! A failure that is met again and again, and said once.

use std::mem;

/// Whether a failure has been said: it is once, until what failed succeeds.
#[derive(Debug, Default)]
pub(crate) struct SaidOnce {
    said: bool,
}

impl SaidOnce {
    /// To be called when it fails. Whether that is to be said.
    pub(crate) fn failed(&mut self) -> bool {
        !mem::replace(&mut self.said, true)
    }

    /// To be called when it succeeds. Whether a failure had been said.
    pub(crate) fn succeeded(&mut self) -> bool {
        mem::take(&mut self.said)
    }
}
