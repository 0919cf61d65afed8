//! Ctrl-C and SIGTERM, for programs that block in what they do. Shared with examples/stack.

use std::thread;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As shells say of whoever ended by Ctrl-C.
pub(crate) const INTERRUPTED: i32 = 130;

/// What comes of both.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Waits for the next one of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Listens from now on, and does `then` on a thread of its own.
///
/// # Errors
/// That cannot be done.
pub(crate) fn listen(then: impl AsyncFnOnce(Signals) + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let signals = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        }
    };
    thread::spawn(move || runtime.block_on(then(signals)));
    Ok(())
}

/// Ends this process, and with it whatever ends with it; nothing is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever sends a signal once more does not want to wait for an order"
)]
pub(crate) fn end_at_once(code: i32) -> ! {
    std::process::exit(code)
}
