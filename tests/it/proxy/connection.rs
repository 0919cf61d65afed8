//! One connection through the proxy.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::strike::{Action, Armed, Place};
use super::wire::{Ended, Messages};
use super::{Line, Shared};

/// Bytes that are read in one go at most: more than most requests have.
const BURST_BYTES_MAX: usize = 64 * 1_024;

/// Bursts on their way that have been read and not yet written.
const BURSTS_MAX: usize = 64;

/// The connection is to end with RST.
struct Reset;

/// Bytes, and when they are to arrive if not at once.
type Burst = (Option<Instant>, Vec<u8>);

struct Connection {
    shared: Arc<Shared>,
    /// How often lines were cut and silent when it began.
    cuts: u64,
    silences: u64,
    /// Begun on a silent line, it says nothing ever.
    born_silent: bool,
    waiting: Mutex<Waiting>,
}

/// What the client waits for.
#[derive(Default)]
struct Waiting {
    /// Messages that the server has not answered with ReadyForQuery.
    unanswered: usize,
    /// A fault that strikes when it has.
    armed: Option<Armed>,
}

/// What has come of the answer that a fault waits for.
enum Answer {
    OfNoInterest,
    Incomplete,
    Complete(Armed),
}

impl Waiting {
    fn sent(&mut self, ended: Ended, armed: Option<Armed>) {
        self.unanswered += ended.requests + ended.startups;
        if armed.is_some() {
            self.armed = armed;
        }
    }

    fn answered(&mut self, ended: Ended) -> Answer {
        self.unanswered = self.unanswered.saturating_sub(ended.ready);
        match self.armed.take_if(|_| self.unanswered == 0) {
            Some(armed) => Answer::Complete(armed),
            None if self.armed.is_some() => Answer::Incomplete,
            None => Answer::OfNoInterest,
        }
    }
}

pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let network = *shared.network.borrow();
    if network.line == Line::Down {
        return;
    }
    let target = *shared.target.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let connection = Connection {
        shared,
        cuts: network.cuts,
        silences: network.silences,
        born_silent: network.line == Line::Silent,
        waiting: Mutex::default(),
    };
    let ended = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let pumps = async {
            tokio::try_join!(
                connection.to_server(client_read, server_write),
                connection.to_client(server_read, client_write),
            )
        };
        tokio::select! {
            ended = pumps => ended.map(drop),
            () = connection.cut() => Ok(()),
        }
    };
    if let Err(Reset) = ended {
        // What close() then sends is RST.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// The next bytes when they are due; none at the end.
async fn next(bursts: &mut mpsc::Receiver<Burst>) -> Option<Vec<u8>> {
    let (due, bytes) = bursts.recv().await?;
    if let Some(due) = due {
        sleep_until(due).await;
    }
    Some(bytes)
}

impl Connection {
    /// Resolves when the line goes down, however shortly.
    async fn cut(&self) {
        let mut network = self.shared.network.subscribe();
        let _ = network.wait_for(|now| now.cuts != self.cuts).await;
    }

    /// A connection that has lost bytes can never be used again.
    fn is_silent(&self) -> bool {
        self.born_silent || self.shared.network.borrow().silences != self.silences
    }

    async fn to_server(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Reset> {
        let (queue, mut bursts) = mpsc::channel::<Burst>(BURSTS_MAX);
        let pass = async {
            let mut messages = Messages::of_client();
            while let Some(bytes) = next(&mut bursts).await {
                let ended = messages.read(&bytes);
                let mut armed = None;
                if ended.requests > 0 {
                    armed = self.shared.trigger.request();
                }
                if let Some(now) = armed.take_if(|armed| armed.place == Place::Before) {
                    self.strike(now).await?;
                }
                // Said before the server can answer.
                self.waiting().sent(ended, armed);
                if self.write(&mut to, &bytes).await.is_err() {
                    return Ok(());
                }
            }
            self.close(&mut to).await
        };
        let read = self.read(from, queue, |line| match line {
            Line::Delayed { to_server, .. } => to_server,
            _ => Duration::ZERO,
        });
        tokio::try_join!(pass, read).map(drop)
    }

    async fn to_client(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Reset> {
        let (queue, mut bursts) = mpsc::channel::<Burst>(BURSTS_MAX);
        let pass = async {
            let mut messages = Messages::of_server();
            // What a client must not see until the fault has struck.
            let mut held = Vec::new();
            while let Some(bytes) = next(&mut bursts).await {
                let ended = messages.read(&bytes);
                held.extend(bytes);
                let strikes = match self.waiting().answered(ended) {
                    Answer::OfNoInterest => None,
                    Answer::Incomplete => continue,
                    Answer::Complete(armed) => Some(armed),
                };
                if let Some(armed) = strikes {
                    self.strike(armed).await?;
                }
                if self.write(&mut to, &held).await.is_err() {
                    return Ok(());
                }
                held.clear();
            }
            self.close(&mut to).await
        };
        let read = self.read(from, queue, |line| match line {
            Line::Delayed { to_client, .. } => to_client,
            _ => Duration::ZERO,
        });
        tokio::try_join!(pass, read).map(drop)
    }

    /// Reads until the end, which is told by dropping `queue`.
    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        queue: mpsc::Sender<Burst>,
        delay: impl Fn(Line) -> Duration,
    ) -> Result<(), Reset> {
        let mut bytes = vec![0; BURST_BYTES_MAX];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let delay = delay(self.shared.network.borrow().line);
            let due = (!delay.is_zero()).then(|| Instant::now() + delay);
            if queue.send((due, bytes[..count].to_vec())).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
        if self.is_silent() {
            return Ok(());
        }
        to.write_all(bytes).await
    }

    /// Passes an end on, which a silent line does not even do.
    async fn close(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Reset> {
        if self.is_silent() {
            pending::<()>().await;
        }
        let _ = to.shutdown().await;
        Ok(())
    }

    async fn strike(&self, mut armed: Armed) -> Result<(), Reset> {
        let action = armed.action().await;
        if action == Action::Swallow {
            self.shared
                .network
                .send_modify(|network| network.set(Line::Silent));
        }
        armed.report();
        match action {
            Action::Reset => Err(Reset),
            Action::Delay(time) => {
                sleep(time).await;
                Ok(())
            }
            Action::Swallow | Action::Hold => Ok(()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
