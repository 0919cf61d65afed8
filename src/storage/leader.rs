//! One of many: which instance on a database does what shall be done once.
//!
//! Whoever leads holds an advisory lock of PostgreSQL, on a connection that it uses for
//! nothing else. The server ends that session, and with it the lock, when it has heard
//! nothing for [`SILENCE_MAX`]; so a leader that is stopped, frozen or cut off is followed
//! by another within [`SILENCE_MAX`] and [`TRY_INTERVAL`], five seconds with all that a
//! busy machine adds. Two may believe to lead for that long: what a leader does must be
//! safe to do twice. On SQLite there is one process, which leads.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{Connection as _, PgConnection, query, query_scalar};
use tokio::time::{sleep, timeout};

use super::Store;
use super::own::OwnConnection;
use crate::telemetry::SaidOnce;

/// Silence after which the server ends a leader's session: three pings lost.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How often a leader shows that it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How often the others try: a statement of microseconds.
const TRY_INTERVAL: Duration = Duration::from_millis(500);

/// How long the server may take to answer; a leader that waits longer cannot know
/// whether it still leads when it hears.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is done by one instance at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Moving the outbox to Kafka.
    Relay,
    /// Ending holds that are over.
    Sweeper,
}

impl Role {
    /// The key of its lock: "srelay" and "ssweep" in ASCII, unlike that of migrations.
    fn key(self) -> i64 {
        match self {
            Self::Relay => 0x7372_656c_6179,
            Self::Sweeper => 0x7373_7765_6570,
        }
    }

    /// What PostgreSQL's views call the connection.
    fn name(self) -> &'static str {
        match self {
            Self::Relay => "stockroom relay lock",
            Self::Sweeper => "stockroom sweeper lock",
        }
    }
}

/// A role to lead in.
#[derive(Debug)]
pub struct Leadership {
    role: Role,
    /// None where there is one process.
    options: Option<PgConnectOptions>,
}

/// To lead, until it is dropped or [`Lead::lost`] returns.
#[derive(Debug)]
pub struct Lead {
    connection: Option<PgConnection>,
}

impl Store {
    /// The way to lead in `role`.
    pub fn leadership(&self, role: Role) -> Leadership {
        let silence_max = SILENCE_MAX.as_millis().to_string();
        let options = self.own_options(role.name()).map(|options| {
            options.options([
                ("idle_session_timeout", silence_max.as_str()),
                // For the moment in which an answer is under way, which is not idle.
                ("tcp_user_timeout", silence_max.as_str()),
            ])
        });
        Leadership { role, options }
    }
}

impl Leadership {
    /// Waits until this process leads.
    pub async fn acquire(&self) -> Lead {
        let Some(options) = &self.options else {
            return Lead { connection: None };
        };
        let mut connection = OwnConnection::new(options.clone(), ANSWER_TIMEOUT);
        let mut asking = SaidOnce::default();
        loop {
            let attempt = query_scalar("SELECT pg_try_advisory_lock($1)").bind(self.role.key());
            let leads = connection.work(async |on| attempt.fetch_one(on).await);
            match leads.await {
                // The lock is this session's, so no other connection may follow it.
                Ok(true) => {
                    let connection = connection.into_connection();
                    let connection = connection.expect("work that succeeds leaves one");
                    return Lead {
                        connection: Some(connection),
                    };
                }
                Ok(false) => {
                    asking.succeeded();
                }
                Err(error) if asking.failed() => {
                    tracing::warn!(role = ?self.role, %error, "cannot ask who leads");
                }
                Err(_) => {}
            }
            sleep(TRY_INTERVAL).await;
        }
    }
}

impl Lead {
    /// Shows that this process is there, and returns when it leads no more.
    pub async fn lost(&mut self) {
        let Some(connection) = &mut self.connection else {
            return std::future::pending().await;
        };
        loop {
            sleep(PING_INTERVAL).await;
            let ping = query("SELECT 1").execute(&mut *connection);
            if !matches!(timeout(ANSWER_TIMEOUT, ping).await, Ok(Ok(_))) {
                return;
            }
        }
    }

    /// Lets another lead at once.
    pub async fn leave(self) {
        if let Some(connection) = self.connection {
            // If nobody answers, the lock ends with the session.
            let _ = timeout(ANSWER_TIMEOUT, connection.close()).await;
        }
    }
}
