//! Ctrl-C and SIGTERM. One of them ends the stack in order; while it is being started, or
//! when that has been asked for already, it ends this process at once, and all others with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// Two instances that drain, one after the other, and servers that flush.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// As shells say of whoever ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// What came.
pub(crate) struct Signals {
    came: Receiver<()>,
    started: Arc<AtomicBool>,
}

/// Listens from now on.
pub(crate) fn listen() -> anyhow::Result<Signals> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let listen = |kind| signal(kind).context("cannot listen for signals");
        (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        )
    };
    let (tell, came) = channel();
    let started = Arc::new(AtomicBool::new(false));
    let is_started = Arc::clone(&started);
    thread::spawn(move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            next().await;
            if !is_started.load(Ordering::Acquire) {
                end_at_once(INTERRUPTED);
            }
            let _ = tell.send(());
            tokio::select! {
                () = next() => end_at_once(INTERRUPTED),
                () = sleep(STOP_DEADLINE) => {
                    println!("something did not stop in time");
                    end_at_once(1);
                }
            }
        });
    });
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

/// The servers end with this process, and so do the instances, which drain.
#[expect(
    clippy::disallowed_methods,
    reason = "a second signal, or one before there is anything to stop in order"
)]
fn end_at_once(code: i32) -> ! {
    std::process::exit(code)
}
