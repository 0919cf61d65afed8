//! A TCP proxy that breaks things for real.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the proxy does with connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Passes everything on.
    Up,
    /// Has closed every connection, and closes new ones at once.
    Down,
    /// Swallows what is sent and says nothing: a cable that was pulled. What was
    /// connected meanwhile stays silent for ever.
    Silent,
}

/// A proxy before one address; it ends when dropped.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let line = Arc::new(watch::Sender::new(Line::Up));
        let accepting = tokio::spawn({
            let line = Arc::clone(&line);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream, target, line.subscribe()));
                }
            }
        });
        Self {
            addr,
            line,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Closes every connection and takes new ones.
    pub(crate) fn cut(&self) {
        self.set(Line::Down);
        self.set(Line::Up);
    }
}

async fn serve(inward: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>) {
    let started = *line.borrow_and_update();
    if started == Line::Down {
        return;
    }
    let Ok(outward) = TcpStream::connect(target).await else {
        return;
    };
    let _ = inward.set_nodelay(true);
    let _ = outward.set_nodelay(true);
    let (in_read, in_write) = inward.into_split();
    let (out_read, out_write) = outward.into_split();
    let silent = Arc::new(watch::Sender::new(started == Line::Silent));
    let pumps = async {
        tokio::join!(
            pump(in_read, out_write, silent.subscribe()),
            pump(out_read, in_write, silent.subscribe()),
        )
    };
    tokio::select! {
        _ = pumps => {}
        () = closed(&mut line, &silent) => {}
    }
}

/// Resolves when the line goes down, however shortly.
async fn closed(line: &mut watch::Receiver<Line>, silent: &watch::Sender<bool>) {
    loop {
        if line.changed().await.is_err() {
            return std::future::pending().await;
        }
        match *line.borrow_and_update() {
            Line::Silent => drop(silent.send_replace(true)),
            // A connection that has lost bytes can never be used again.
            Line::Up if *silent.borrow() => {}
            Line::Up | Line::Down => return,
        }
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, silent: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !*silent.borrow() && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
