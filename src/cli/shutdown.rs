//! Ending on SIGTERM and SIGINT: the first asks, the second insists.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// What shells report for a program that Ctrl-C ended.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Catches SIGTERM and SIGINT from now on. The future resolves with the first;
/// a second one ends the process at once, whether anybody polls the future or not.
pub(super) fn requested() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let (ask, asked) = oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("draining; a second signal ends the process at once");
        // An error means that the command is over already.
        let _ = ask.send(());
        signals.next().await;
        end_at_once();
    });
    Ok(async move {
        asked.await.unwrap_or_default();
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever signals twice wants no drain; what was acknowledged is on disk"
)]
fn end_at_once() -> ! {
    std::process::exit(EXIT_INTERRUPTED.into())
}
