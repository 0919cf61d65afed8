//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print::tell;

/// Lines in a log are for looking back, so there are few of them.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How far some work has come. Shared by the tasks that do it.
#[derive(Debug)]
pub(super) struct Progress {
    label: &'static str,
    /// None where nobody knows how much there is.
    total: Option<u64>,
    started: Instant,
    done: AtomicU64,
    look: Look,
}

#[derive(Debug)]
enum Look {
    Bar(ProgressBar),
    /// When the next line is due.
    Lines(Mutex<Instant>),
}

impl Progress {
    /// Starts to show `total` pieces of work, called by what they are: "orders".
    pub(super) fn start(label: &'static str, total: usize) -> Self {
        Self::new(label, Some(total as u64))
    }

    /// Starts to count pieces of work of which nobody knows how many there are.
    pub(super) fn counting(label: &'static str) -> Self {
        Self::new(label, None)
    }

    fn new(label: &'static str, total: Option<u64>) -> Self {
        let started = Instant::now();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let look = if bar.is_hidden() {
            Look::Lines(Mutex::new(started + LINE_INTERVAL))
        } else {
            let template = match total {
                Some(_) => "  {msg:<14} {wide_bar:.cyan/dim} {human_pos:>7} of {human_len} ",
                None => "  {msg:<14} {human_pos:>7}  {per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(label);
            Look::Bar(bar)
        };
        Self {
            label,
            total,
            started,
            done: AtomicU64::new(0),
            look,
        }
    }

    /// So many more pieces are done.
    pub(super) fn advance(&self, pieces: usize) {
        let pieces = pieces as u64;
        let done = self.done.fetch_add(pieces, Ordering::Relaxed) + pieces;
        match &self.look {
            Look::Bar(bar) => bar.inc(pieces),
            Look::Lines(due) => {
                // Whoever finds it locked need not wait: the line is being written.
                let Ok(mut due) = due.try_lock() else { return };
                if Instant::now() >= *due {
                    match self.total {
                        Some(total) => tell(format_args!("  {}: {done} of {total}", self.label)),
                        None => tell(format_args!("  {}: {done}", self.label)),
                    }
                    *due = Instant::now() + LINE_INTERVAL;
                }
            }
        }
    }

    /// The work is over. Leaves one line behind.
    pub(super) fn finish(&self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
        tell(format_args!(
            "  {:<14} {:>7} in {:.2} s",
            self.label,
            self.done.load(Ordering::Relaxed),
            self.started.elapsed().as_secs_f64()
        ));
    }
}
