//! An outage of the database in the log.
//!
//! Every call and every watch that needs the database meets it, thousands a second, and a
//! line of the log is written before its caller goes on. So one place has the lines of all
//! of them: one a second at most, with the number of those that were left out, which are
//! logged at `debug`.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::chain;
use crate::lock::lock;

/// Least time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Of the process, as the log is: what is written by all of it is bounded here.
static LINES: Lines = Lines(Mutex::new(Written {
    last: None,
    left_out: 0,
}));

/// Logs that `what` failed because the database could not be reached or did not answer.
pub(crate) fn store_unavailable(what: &'static str, error: &dyn std::error::Error) {
    match LINES.next(Instant::now()) {
        Some(left_out) => {
            let error = chain(error);
            tracing::error!(what, error, left_out, "the database is unavailable");
        }
        None => tracing::debug!(what, error = chain(error), "the database is unavailable"),
    }
}

/// Says which lines are written.
#[derive(Debug)]
struct Lines(Mutex<Written>);

#[derive(Debug)]
struct Written {
    last: Option<Instant>,
    /// Lines since then.
    left_out: u64,
}

impl Lines {
    /// How many were left out before the line that is due `now`; none where it is to be left
    /// out itself.
    fn next(&self, now: Instant) -> Option<u64> {
        let mut written = lock(&self.0);
        // Of several that come at once one may be late, and `now` before `last`.
        let is_due = |last| now.saturating_duration_since(last) >= LINE_INTERVAL;
        if written.last.is_none_or(is_due) {
            written.last = Some(now);
            Some(std::mem::take(&mut written.left_out))
        } else {
            written.left_out += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_tells_of_those_that_were_left_out() {
        let lines = Lines(Mutex::new(Written {
            last: None,
            left_out: 0,
        }));
        let began = Instant::now();
        let at = |ms| lines.next(began + Duration::from_millis(ms));
        let written = [0, 1, 999, 1_000, 1_500, 3_000, 4_000].map(at);
        assert_eq!(
            written,
            [Some(0), None, None, Some(2), None, Some(1), Some(0)]
        );
    }
}
