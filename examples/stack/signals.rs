//! Ctrl-C and SIGTERM. One of them ends the stack in order; while it is being started, or
//! when that has been asked for already, it ends this process at once, and all others with it.

#[path = "../../benches/support/signals.rs"]
mod both;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::time::sleep;

use both::{INTERRUPTED, end_at_once};

/// Two instances that drain, one after the other, and servers that flush.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// What came.
pub(crate) struct Signals {
    came: Receiver<()>,
    started: Arc<AtomicBool>,
}

/// Listens from now on.
pub(crate) fn listen() -> anyhow::Result<Signals> {
    let (tell, came) = channel();
    let started = Arc::new(AtomicBool::new(false));
    let is_started = Arc::clone(&started);
    both::listen(async move |mut signals| {
        signals.next().await;
        if !is_started.load(Ordering::Acquire) {
            end_at_once(INTERRUPTED);
        }
        let _ = tell.send(());
        tokio::select! {
            () = signals.next() => end_at_once(INTERRUPTED),
            () = sleep(STOP_DEADLINE) => {
                println!("something did not stop in time");
                end_at_once(1);
            }
        }
    })?;
    Ok(Signals { came, started })
}

impl Signals {
    /// Everything is there that is to be stopped.
    pub(crate) fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Waits for the first one.
    pub(crate) fn wait(&self) {
        // An error is the end of the thread that listens, which ends the stack as well.
        let _ = self.came.recv();
    }
}
