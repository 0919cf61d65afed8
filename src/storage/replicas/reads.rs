//! The reads that a replica may answer, each with the condition under which it may.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tokio::time::{Instant, sleep};

use super::super::level_list::list_levels;
use super::super::stock::read_levels;
use super::super::{LevelFilter, StockPage, StorageError, Store};
use super::lag::{Position, primary_stands, replica_shows};
use super::{Replica, Replicas, count};
use crate::domain::{KeyToRead, LevelKey, LoadedLevel, ServedFrom};

/// How long after it was asked in vain a replica is asked again whether it has come to a
/// moment.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A moment in the primary's history. What is read *since* a moment has all that was
/// committed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(Option<Position>);

impl Moment {
    /// One that no replica can show: reads since then are the primary's.
    pub const NEVER: Self = Self(None);
}

impl Store {
    /// Reads levels, in the order of `keys`, at one moment, all from one source that has
    /// the versions asked for; the primary may be below them. What is asked for without
    /// a version comes from the primary. So does an unknown SKU: it may have been put a
    /// moment ago, where a replica has not heard of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn read_levels_at(
        &self,
        keys: &[KeyToRead],
    ) -> Result<(Vec<LoadedLevel>, ServedFrom), StorageError> {
        let asked: Vec<LevelKey> = keys.iter().map(|(key, _)| key.clone()).collect();
        if let Some(replicas) = &self.replicas
            && keys.iter().all(|(_, wanted)| wanted.is_some())
        {
            let read = async |connection| read_levels(&connection, &asked).await;
            if let Some(levels) = replicas.read(read, |levels| will_do(levels, keys)).await {
                return Ok((levels, ServedFrom::Replica));
            }
        }
        Ok((self.read_levels(&asked).await?, ServedFrom::Primary))
    }

    /// As [`Store::list_levels`], from any source: a level may be at a version that it
    /// had a moment ago, or not be there yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_levels_stale(
        &self,
        after: Option<&LevelKey>,
        filter: &LevelFilter<'_>,
        limit: usize,
    ) -> Result<(StockPage, ServedFrom), StorageError> {
        if let Some(replicas) = &self.replicas {
            let read = async |connection| list_levels(&connection, after, filter, limit).await;
            if let Some(page) = replicas.read(read, |_| true).await {
                return Ok((page, ServedFrom::Replica));
            }
        }
        let page = self.list_levels(after, filter, limit).await?;
        Ok((page, ServedFrom::Primary))
    }

    /// Now, for those who will read since then. Many who ask at once are told together.
    /// Without replicas, or when the primary does not say, it is [`Moment::NEVER`].
    pub async fn moment(&self) -> Moment {
        let Some(replicas) = &self.replicas else {
            return Moment::NEVER;
        };
        if replicas.least_loaded().is_none() {
            return Moment::NEVER;
        }
        let now = Instant::now();
        let mut asked = replicas.asked.lock().await;
        match *asked {
            // Asked after this call began, while it waited for the lock.
            Some((at, position)) if at >= now => Moment(position),
            _ => {
                let at = Instant::now();
                let read = async { position(&self.readers(), primary_stands!()).await };
                let position = self.readers.bounded(read).await.ok();
                // A failure, too, is everybody's who waits: each would wait as long again.
                *asked = Some((at, position));
                Moment(position)
            }
        }
    }

    /// As [`Store::list_levels`], since a moment; none if that takes the primary.
    pub async fn list_levels_since(
        &self,
        moment: Moment,
        after: Option<&LevelKey>,
        filter: &LevelFilter<'_>,
        limit: usize,
    ) -> Option<StockPage> {
        let read = async |connection: DatabaseConnection| {
            list_levels(&connection, after, filter, limit).await
        };
        self.read_since(moment, read).await
    }

    /// As [`Store::read_levels`], since a moment; none if that takes the primary.
    pub async fn read_levels_since(
        &self,
        moment: Moment,
        keys: &[LevelKey],
    ) -> Option<Vec<LoadedLevel>> {
        let read = async |connection: DatabaseConnection| read_levels(&connection, keys).await;
        self.read_since(moment, read).await
    }

    async fn read_since<T>(
        &self,
        moment: Moment,
        read: impl AsyncFnOnce(DatabaseConnection) -> Result<T, StorageError>,
    ) -> Option<T> {
        let (Some(replicas), Moment(Some(moment))) = (&self.replicas, moment) else {
            return None;
        };
        let replica = replicas.least_loaded()?;
        if !replica.comes_to(moment, replicas.timeout).await {
            count(&replica.counts.behind);
            return None;
        }
        let done = replica.read(read).await;
        if done.is_some() {
            count(&replica.counts.served);
        }
        done
    }
}

impl Replicas {
    /// Reads from the least loaded replica; none unless what came will do.
    async fn read<T>(
        &self,
        read: impl AsyncFnOnce(DatabaseConnection) -> Result<T, StorageError>,
        will_do: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let replica = self.least_loaded()?;
        let done = replica.read(read).await?;
        let (counter, done) = match will_do(&done) {
            true => (&replica.counts.served, Some(done)),
            false => (&replica.counts.behind, None),
        };
        count(counter);
        done
    }
}

impl Replica {
    /// Waits until it shows all that there was at `moment`, for as long as a read may
    /// take; while it is known to be late, it is asked once.
    async fn comes_to(&self, moment: Position, patience: Duration) -> bool {
        let patience = match self.is_late.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => patience,
        };
        let deadline = Instant::now() + patience;
        while self.replayed.load(Ordering::Relaxed) < moment {
            let shows = async |connection| position(&connection, replica_shows!()).await;
            let Some(shows) = self.read(shows).await else {
                return false;
            };
            self.replayed.fetch_max(shows, Ordering::Relaxed);
            if shows < moment {
                if Instant::now() + ASK_AGAIN >= deadline {
                    self.is_late.store(true, Ordering::Relaxed);
                    return false;
                }
                sleep(ASK_AGAIN).await;
            }
        }
        true
    }
}

/// Whether a replica has what is asked for.
fn will_do(levels: &[LoadedLevel], keys: &[KeyToRead]) -> bool {
    let mut pairs = levels.iter().zip(keys);
    pairs.all(|(loaded, (_, wanted))| {
        loaded.sku_known && wanted.is_none_or(|wanted| wanted <= loaded.level.version)
    })
}

async fn position(
    connection: &DatabaseConnection,
    question: &str,
) -> Result<Position, StorageError> {
    let statement = Statement::from_string(connection.get_database_backend(), question);
    let row = connection.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a position gave no row"))?;
    Ok(row.try_get_by_index(0)?)
}
