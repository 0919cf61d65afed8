//! Hints between the processes of one PostgreSQL: NOTIFY and LISTEN.
//!
//! Each direction has a connection of its own. A hint is sent after the commit that
//! it tells of and never in its transaction, whose flush would then hold a lock that
//! the whole server has one of. What is lost is lost: whoever sends or listens relies
//! on nothing here but that every call ends in bounded time.

use std::io::ErrorKind;
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::own::{OwnConnection, in_time};
use super::{StorageError, Store};

/// The channel, which belongs to the database: stores do not hear each other.
const CHANNEL: &str = "stockroom_hints";

/// What PostgreSQL's views call the connection that listens.
const LISTENER: &str = "stockroom listener";

/// PostgreSQL refuses payloads of 8,000 bytes; what we send stays clear of that.
pub const HINT_BYTES_MAX: usize = 7_000;

/// How long connecting or a statement may take, each of which takes milliseconds. A
/// network that swallows packets in silence ends here.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which the listener asks whether its connection is still there. One
/// round trip in ten seconds costs nothing; whatever was lost, the re-read has found.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// How to reach the hints of a store.
#[derive(Debug, Clone)]
pub struct Hints {
    options: PgConnectOptions,
}

/// Sends hints.
#[derive(Debug)]
pub struct HintSender {
    connection: OwnConnection,
}

/// Hears hints, its own process's among them.
#[derive(Debug)]
pub struct HintListener {
    listener: PgListener,
}

impl Store {
    /// The hints between this store's processes; none where there can be but one.
    pub fn hints(&self) -> Option<Hints> {
        let options = self.own_options("stockroom hints")?;
        // A NOTIFY writes nothing that would have to be flushed; this makes sure.
        let options = options.options([("synchronous_commit", "off")]);
        Some(Hints { options })
    }
}

impl Hints {
    /// Connects with the first hint.
    pub fn sender(&self) -> HintSender {
        HintSender {
            connection: OwnConnection::new(self.options.clone(), ANSWER_TIMEOUT),
        }
    }

    /// Connects and listens.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn listen(&self) -> Result<HintListener, StorageError> {
        let listener = in_time(ANSWER_TIMEOUT, async {
            // The listener wants a pool; this one is the listener's own, and goes with it.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .test_before_acquire(false)
                .acquire_timeout(ANSWER_TIMEOUT)
                .connect_lazy_with(self.options.clone().application_name(LISTENER));
            let mut listener = PgListener::connect_with(&pool).await?;
            // It is made anew instead, so that whoever listens learns of the loss.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        });
        let listener = listener.await?;
        Ok(HintListener { listener })
    }
}

impl HintSender {
    /// Sends one hint of at most [`HINT_BYTES_MAX`], and connects first if need be.
    ///
    /// # Errors
    /// It may not have been sent; the next one begins on a new connection.
    pub async fn send(&mut self, payload: &str) -> Result<(), StorageError> {
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL);
        let notify = notify.bind(payload);
        let sent = self.connection.work(async |on| notify.execute(on).await);
        sent.await?;
        Ok(())
    }
}

impl HintListener {
    /// Waits for the next hint.
    ///
    /// # Errors
    /// The connection is lost, and hints with it: listen anew.
    pub async fn next(&mut self) -> Result<String, StorageError> {
        loop {
            match timeout(QUIET_MAX, self.listener.try_recv()).await {
                Ok(Ok(Some(hint))) => return Ok(hint.payload().to_owned()),
                Ok(Ok(None)) => {
                    return Err(SqlxError::Io(ErrorKind::ConnectionAborted.into()).into());
                }
                Ok(Err(error)) => return Err(error.into()),
                // A hint that comes with the answer is kept for the next round.
                Err(_) => {
                    let asked = sqlx::query("SELECT 1").execute(&mut self.listener);
                    in_time(ANSWER_TIMEOUT, asked).await?;
                }
            }
        }
    }
}
