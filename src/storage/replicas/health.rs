//! Looking after replicas: whether each may be asked.
//!
//! Each check has a connection of its own. A replica serves while it answers, follows
//! a primary, has this store's id, is not ahead of where the primary stood later (it
//! has another history then: that of a primary which lost its place), and is behind by
//! no more than `store.replica_lag_max_ms`. While the primary does not answer nobody
//! can tell how far replicas are behind, and nothing is committed that they would miss
//! as far as this process can know: the last word on their lag stands, so that reads
//! which take any source go on without it.
//!
//! A check is lighter than a read, and may take longer. So one that was left out is taken
//! back only once a read on it was answered as soon as those of callers have to be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::SqlxError;
use sea_orm::sqlx::query_as;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::super::Store;
use super::super::own::OwnConnection;
use super::lag::{Position, Track, primary_stands, replica_shows};
use super::{Replica, Replicas};
use crate::lock::lock;

/// What a check may take before the server counts as silent. Longer than a read has: a
/// new connection and a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a replica that is not where the primary was a moment ago gets to hear of it
/// before its lag counts as a whole interval. Streaming takes a millisecond or two.
const HEARING: Duration = Duration::from_millis(20);

/// The primary's position and the store's id.
const PRIMARY: &str = concat!(primary_stands!(), ", (SELECT store_id FROM store)");

/// The same of a replica, and whether it is one.
const REPLICA: &str = concat!(
    replica_shows!(),
    ", (SELECT store_id FROM store), pg_is_in_recovery()"
);

/// What PostgreSQL's views call the connection.
const NAME: &str = "stockroom replica check";

/// What a replica says of itself.
struct Answer {
    replayed: Position,
    store_id: Option<Uuid>,
    follows: bool,
}

/// Why a replica is left out.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it does not answer: {0}")]
    Silent(#[from] SqlxError),
    #[error("it follows no primary")]
    Primary,
    #[error("the primary has not told the store's id yet")]
    Unknown,
    #[error("it has another store_id")]
    OtherStore,
    #[error("it has another history than the primary")]
    Ahead,
    #[error("it is behind by more than {} ms", .0.as_millis())]
    Behind(Duration),
}

impl Store {
    /// Keeps the replicas' health true, until dropped. Without it none is ever asked;
    /// without replicas it has nothing to do.
    pub async fn look_after_replicas_forever(self) {
        let (Some(replicas), Some(options)) = (&self.replicas, self.own_options(NAME)) else {
            return;
        };
        let mut primary = OwnConnection::new(options, ANSWER_TIMEOUT);
        let options = replicas.all.iter().map(|replica| replica.options.clone());
        let mut checks: Vec<OwnConnection> = options
            .map(|options| OwnConnection::new(options.application_name(NAME), ANSWER_TIMEOUT))
            .collect();
        let mut known = Known::default();
        let mut rounds = interval(replicas.check_interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // Before the primary is asked, which cannot stand before them.
            let shown = replicas.all.iter();
            let shown = shown.map(|replica| replica.replayed.load(Ordering::Relaxed));
            let shown: Vec<Position> = shown.collect();
            known.ask(&mut primary).await;
            let checking = replicas.all.iter().zip(&mut checks).zip(shown);
            join_all(
                checking
                    .map(|((replica, check), shown)| replica.check(check, shown, &known, replicas)),
            )
            .await;
        }
    }
}

/// What is known of the primary.
#[derive(Default)]
struct Known {
    track: Track,
    /// The store's id; none before the primary has told it.
    store_id: Option<Uuid>,
    /// Whether it answered in this round.
    is_new: bool,
}

impl Known {
    async fn ask(&mut self, primary: &mut OwnConnection) {
        let at = Instant::now();
        let asked = primary.work(async |on| query_as(PRIMARY).fetch_one(on).await);
        self.is_new = match asked.await {
            Ok((position, store_id)) => {
                self.track.note(at, position);
                self.store_id = store_id;
                true
            }
            // That it is away is reported elsewhere.
            Err(_) => false,
        };
    }
}

impl Replica {
    /// Judges it, which showed `shown` before the primary was asked.
    async fn check(
        &self,
        check: &mut OwnConnection,
        shown: Position,
        known: &Known,
        replicas: &Replicas,
    ) {
        match self.judge(check, shown, known, replicas.lag_max).await {
            Ok(()) => self.take_back(replicas.timeout).await,
            Err(unfit) => {
                self.leave_out(&unfit.to_string());
                lock(&self.pause).lift();
            }
        }
    }

    async fn judge(
        &self,
        check: &mut OwnConnection,
        shown: Position,
        known: &Known,
        lag_max: Duration,
    ) -> Result<(), Unfit> {
        let stands = known.track.last();
        let mut answer = ask_replica(check).await?;
        if known.is_new && stands.is_some_and(|stands| answer.replayed < stands) {
            sleep(HEARING).await;
            answer = ask_replica(check).await?;
        }
        self.replayed.store(answer.replayed, Ordering::Relaxed);
        if stands.is_some_and(|stands| stands <= answer.replayed) {
            self.is_late.store(false, Ordering::Relaxed);
        }
        if known.is_new && stands.is_some_and(|stands| stands < shown) {
            return Err(Unfit::Ahead);
        }
        if !answer.follows {
            return Err(Unfit::Primary);
        }
        if known.store_id.is_none() {
            return Err(Unfit::Unknown);
        }
        if answer.store_id != known.store_id {
            return Err(Unfit::OtherStore);
        }
        if known.is_new {
            let lag = known.track.lag(answer.replayed, Instant::now());
            // At least that.
            let lag = lag.unwrap_or(Duration::MAX);
            self.lag_us.store(
                i64::try_from(lag.as_micros()).unwrap_or(i64::MAX),
                Ordering::Relaxed,
            );
        }
        let lag = Duration::from_micros(self.lag_us.load(Ordering::Relaxed).unsigned_abs());
        if lag > lag_max {
            return Err(Unfit::Behind(lag_max));
        }
        Ok(())
    }
}

async fn ask_replica(check: &mut OwnConnection) -> Result<Answer, SqlxError> {
    let asked = check.work(async |on| query_as(REPLICA).fetch_one(on).await);
    let (replayed, store_id, follows) = asked.await?;
    Ok(Answer {
        replayed,
        store_id,
        follows,
    })
}
