//! Taking connections from a listener, for both ports.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// How long to wait when the system has no descriptor left for a connection. The one that
/// waits for it makes the listener ready all the while: without a pause this would turn
/// round as fast as it can.
const PAUSE: Duration = Duration::from_millis(100);

/// What keeps connections from coming is logged when it has not for so long. Where descriptors are
/// few, each connection that ends lets one in, and the next waits again.
const QUIET: Duration = Duration::from_secs(60);

/// Takes the connections to one listener.
#[derive(Debug)]
pub(crate) struct Accepting {
    listener: TcpListener,
    /// Of the configuration, which names it.
    key: &'static str,
    /// When one could not be taken the last time.
    failed_at: Option<Instant>,
}

impl Accepting {
    pub(crate) fn on(listener: TcpListener, key: &'static str) -> Self {
        let failed_at = None;
        Self {
            listener,
            key,
            failed_at,
        }
    }

    /// Waits for the next connection. May be dropped while it waits; nothing is lost.
    pub(crate) async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    let failed_at = self.failed_at.replace(Instant::now());
                    if failed_at.is_none_or(|at| at.elapsed() >= QUIET) {
                        tracing::warn!(%error, "cannot accept a connection on {}", self.key);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// It went away before it was taken.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
