//! Taking connections from a listener, for both ports.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How long to wait when the system has no descriptor left for a connection. The one that
/// waits for it makes the listener ready all the while: without a pause this would turn
/// round as fast as it can.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection to `listener`, which `key` of the configuration names. What keeps it
/// from coming is logged once.
pub(crate) async fn accept(listener: &TcpListener, key: &str) -> TcpStream {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if !is_told {
                    tracing::warn!(%error, "cannot accept a connection on {key}");
                }
                is_told = true;
                sleep(PAUSE).await;
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
