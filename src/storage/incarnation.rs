//! Which database the connections lead to, and whether it is still the one that it was.
//!
//! An address may lead to another server after a failover: one that may lack the last
//! commits of the old one, and whose versions of the same levels may then stand for
//! something else. A level that was remembered from the old one must not meet a guard
//! on the new one, so every new connection for reads and writes tells what it has come
//! to before anything is done on it. One that has come to another database is refused,
//! and the server begins anew. Within a connection the database is always the same;
//! its `store_id` may change there too, which every read of it notices. So may its
//! timeline, by a promotion: a standby is refused until it has been promoted.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::SqlxError;
use sea_orm::sqlx::{self, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::lock::lock;
use crate::telemetry::{self, SaidOnce};

/// The server's data, and how often it has been promoted; a restored backup has been,
/// too, and a standby says NULL. Each alone, for a role that may not ask for one of them.
const SYSTEM: &str = "SELECT system_identifier::text FROM pg_control_system()";
const TIMELINE: &str = "\
SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";
const STORE_ID: &str = "SELECT store_id FROM store";

/// Time between attempts to connect to a standby that may be promoted, at least.
const STANDBY_PAUSE: Duration = Duration::from_millis(250);

const STANDBY: &str = "the database is a standby, which is not promoted yet";

/// What is known of the database so far; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Incarnation {
    known: Arc<Mutex<Identity>>,
    /// That connections come to a standby.
    standby: Arc<Mutex<SaidOnce>>,
    /// Cancelled once it is another one.
    changed: CancellationToken,
}

/// What tells one database from another; none is not known.
#[derive(Debug, Default)]
struct Identity {
    store_id: Option<Uuid>,
    system: Option<String>,
    timeline: Option<String>,
}

impl Incarnation {
    /// Asks a new connection what it has come to.
    ///
    /// # Errors
    /// It has come to another database than those before it, or to a standby. That one
    /// could take no commit, and would be asked no more after its promotion, by which it
    /// may have become another database.
    pub(super) async fn ask(&self, connection: &mut PgConnection) -> Result<(), SqlxError> {
        let identity = identify(connection).await.inspect_err(unusable)?;
        let Some(identity) = identity else {
            if lock(&self.standby).failed() {
                tracing::warn!("{STANDBY}");
            }
            // The pool asks again at once.
            tokio::time::sleep(STANDBY_PAUSE).await;
            return Err(SqlxError::Configuration(STANDBY.into()));
        };
        lock(&self.standby).succeeded();
        if self.meet(identity) {
            Ok(())
        } else {
            let another = "the database is another one than it was";
            Err(SqlxError::Configuration(another.into()))
        }
    }

    /// Notes a `store_id` that was read.
    pub(super) fn meet_store(&self, store_id: Uuid) {
        self.meet(Identity {
            store_id: Some(store_id),
            ..Identity::default()
        });
    }

    /// Waits until the database is another one.
    pub(super) async fn changed(&self) {
        self.changed.cancelled().await;
    }

    /// Whether it is the database that is known. What was not known is from now on.
    fn meet(&self, met: Identity) -> bool {
        let mut known = lock(&self.known);
        let same = agree(&mut known.store_id, met.store_id, "store_id")
            & agree(&mut known.system, met.system, "system identifier")
            & agree(&mut known.timeline, met.timeline, "timeline");
        if !same {
            self.changed.cancel();
        }
        same
    }
}

/// Says why a new connection is of no use. The pool does not (`telemetry` silences it): it would
/// each time, and it tries again for as long as anybody waits.
pub(super) fn unusable(error: &SqlxError) {
    telemetry::store_unavailable("a new connection", error);
}

/// What a connection has come to; none for a standby.
async fn identify(connection: &mut PgConnection) -> Result<Option<Identity>, SqlxError> {
    let timeline: Option<Option<String>> = known(
        sqlx::query_scalar(TIMELINE)
            .persistent(false)
            .fetch_one(&mut *connection)
            .await,
    )?;
    if matches!(timeline, Some(None)) {
        return Ok(None);
    }
    Ok(Some(Identity {
        system: known(
            sqlx::query_scalar(SYSTEM)
                .persistent(false)
                .fetch_one(&mut *connection)
                .await,
        )?,
        timeline: timeline.flatten(),
        store_id: known(
            sqlx::query_scalar(STORE_ID)
                .persistent(false)
                .fetch_one(&mut *connection)
                .await,
        )?,
    }))
}

fn agree<T: PartialEq + fmt::Display>(known: &mut Option<T>, met: Option<T>, what: &str) -> bool {
    match (known, met) {
        (Some(known), Some(met)) if *known != met => {
            tracing::warn!(%known, %met, "the database has another {what}");
            false
        }
        (known @ None, met) => {
            *known = met;
            true
        }
        _ => true,
    }
}

/// What was answered; none where the schema is not there yet (42P01) or the role may not
/// ask (42501).
fn known<T>(answer: Result<T, SqlxError>) -> Result<Option<T>, SqlxError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(SqlxError::Database(error))
            if matches!(error.code().as_deref(), Some("42P01" | "42501")) =>
        {
            Ok(None)
        }
        Err(SqlxError::RowNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(store_id: Option<u128>, system: Option<&str>, timeline: Option<&str>) -> Identity {
        Identity {
            store_id: store_id.map(Uuid::from_u128),
            system: system.map(str::to_owned),
            timeline: timeline.map(str::to_owned),
        }
    }

    #[test]
    fn a_database_is_another_one_when_any_part_that_is_known_differs() {
        let first = || identity(Some(1), Some("7"), Some("00000001"));
        for other in [
            identity(Some(2), Some("7"), Some("00000001")),
            identity(Some(1), Some("8"), Some("00000001")),
            identity(Some(1), Some("7"), Some("00000002")),
        ] {
            let incarnation = Incarnation::default();
            assert!(incarnation.meet(first()) && incarnation.meet(first()));
            assert!(!incarnation.changed.is_cancelled());
            assert!(!incarnation.meet(other));
            assert!(incarnation.changed.is_cancelled());
        }
    }

    #[test]
    fn what_is_not_known_yet_is_learned_and_differs_from_nothing() {
        let incarnation = Incarnation::default();
        assert!(incarnation.meet(identity(None, Some("7"), None)));
        assert!(incarnation.meet(identity(Some(1), None, Some("00000001"))));
        incarnation.meet_store(Uuid::from_u128(1));
        assert!(!incarnation.changed.is_cancelled());
        incarnation.meet_store(Uuid::from_u128(2));
        assert!(incarnation.changed.is_cancelled());
    }
}
