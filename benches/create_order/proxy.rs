//! A database that is slow to reach: a proxy that lets each answer wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// Chunks of one connection that may be waiting: more than a round trip has.
const CHUNKS_MAX: usize = 1_024;

const CHUNK_BYTES: usize = 64 * 1_024;

/// A proxy before one address; takes no more connections once it is dropped.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Each answer of `target` comes `delay` later than it would.
    ///
    /// # Errors
    /// There is no port.
    pub(crate) async fn before(target: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((inward, _)) = listener.accept().await {
                // Ends when either side closes; whoever waits behind it finds out.
                tokio::spawn(serve(inward, target, delay));
            }
        });
        Ok(Self {
            addr,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }
}

async fn serve(inward: TcpStream, target: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let outward = TcpStream::connect(target).await?;
    inward.set_nodelay(true)?;
    outward.set_nodelay(true)?;
    let (mut asked, answered) = inward.into_split();
    let (answers, mut ask) = outward.into_split();
    let questions = async {
        copy(&mut asked, &mut ask).await?;
        ask.shutdown().await
    };
    tokio::try_join!(questions, late(answers, answered, delay))?;
    Ok(())
}

/// Passes on what is read, each chunk `delay` after it was: chunks wait beside each
/// other, so that a long answer is late once.
async fn late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
) -> std::io::Result<()> {
    let (send, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut bytes = vec![0; CHUNK_BYTES];
        loop {
            let count = from.read(&mut bytes).await?;
            let chunk = (Instant::now() + delay, bytes[..count].to_vec());
            if count == 0 || send.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = waiting.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
