//! Reading the ledger by time: of all levels, or of one.
//!
//! Of all levels it walks over `movement_time`, which has a row for each commit, or on
//! SQLite for each level of one, in the order of time; and from there to the movements by
//! their primary key. A page costs what it shows. Of one level the versions are the order, and
//! where a time lies among them is found by halving. All of it reads the primary.

use std::time::Duration;

use sea_orm::{DbBackend, FromQueryResult as _, QueryResult, Statement};

use super::entity::movement;
use super::ledger::columns_of_movement;
use super::{StorageError, Store, stock};
use crate::domain::{LevelKey, Movement, Timestamp, Version};

/// By how much the clocks of servers may differ for lists of a level by time to be
/// complete. Clocks that are kept by NTP differ by milliseconds.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(10);

/// Movements of a level that a statement looks at, at most: some 5 ms of them.
const EXAMINED_MAX: i64 = 10_000;

/// The rows of `movement_time` from a place on, and the movements of each: those of the
/// first come after a place in it, and there may be none, so it takes one row more. All joins are nested loops (`connect.rs`), so that the
/// movements come in the order of the list and the statement ends with the page. Those of
/// a level are a query of their own: as a join, the planner now and then looked for them
/// without the lower bound, from the level's first on, to keep the result for the next row.
const ALL_POSTGRES: &str = concat!(
    "SELECT t.sku AS t_sku, t.location AS t_location, t.version AS t_version, ",
    columns_of_movement!(),
    "
FROM (
    SELECT sku, location, version, skus, locations, after_versions, last_versions,
           (time_us, sku, location, version) = ($1, $2, $3, $4) AS begun
    FROM movement_time
    WHERE (time_us, sku, location, version) >= ($1, $2, $3, $4) AND time_us < $8
    ORDER BY time_us, sku, location, version
    LIMIT $9 + 1
) AS t
CROSS JOIN LATERAL unnest(t.skus, t.locations, t.after_versions, t.last_versions)
    AS r (sku, location, after, last)
CROSS JOIN LATERAL (
    SELECT * FROM movement
    WHERE sku = r.sku AND location = r.location AND version <= r.last
      AND version > CASE WHEN t.begun AND r.sku = $5 AND r.location = $6 THEN $7 ELSE r.after END
    ORDER BY version
    LIMIT $9
) AS m
WHERE NOT t.begun OR (r.sku, r.location, r.last) > ($5, $6, $7)
LIMIT $9"
);

/// The same where `movement_time` has a row for each level of a commit. CROSS JOIN keeps
/// the loops as they are written (<https://sqlite.org/optoverview.html#crossjoin>).
const ALL_SQLITE: &str = concat!(
    "SELECT t.sku AS t_sku, t.location AS t_location, t.version AS t_version, ",
    columns_of_movement!(),
    "
FROM (
    SELECT *, (time_us, sku, location, version) = ($1, $2, $3, $4) AS begun
    FROM movement_time
    WHERE (time_us, sku, location, version) >= ($1, $2, $3, $4) AND time_us < $8
    ORDER BY time_us, sku, location, version
    LIMIT $9 + 1
) AS t
CROSS JOIN movement AS m
ON m.sku = t.sku AND m.location = t.location AND m.version <= t.version
   AND m.version > CASE WHEN t.begun THEN $7 ELSE t.after_version END
LIMIT $9"
);

/// The first version of a level that was made at a time or later, or the one after the
/// last: halves what lies between until nothing does. The movement in the middle is asked
/// for twice, since it is looked up so: joined, the planner might read the level once instead.
const VERSION_AT: &str = "\
WITH RECURSIVE halved (low, high) AS (
    SELECT CAST(0 AS bigint), version + 1 FROM stock_level WHERE sku = $1 AND location = $2
    UNION ALL
    SELECT CASE WHEN (SELECT time_us FROM movement WHERE sku = $1 AND location = $2 AND version = (low + high) / 2) < $3
                THEN (low + high) / 2 ELSE low END,
           CASE WHEN (SELECT time_us FROM movement WHERE sku = $1 AND location = $2 AND version = (low + high) / 2) < $3
                THEN high ELSE (low + high) / 2 END
    FROM halved WHERE high - low > 1
)
SELECT high FROM halved WHERE high - low <= 1";

const OF_LEVEL: &str = concat!(
    "SELECT ",
    columns_of_movement!(),
    "
FROM movement AS m
WHERE sku = $1 AND location = $2 AND version > $3 AND version < $4 AND time_us >= $5 AND time_us < $6
ORDER BY version
LIMIT $7"
);

/// A place in the list of all movements by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePlace {
    /// The time of the movement.
    pub time: Timestamp,
    /// The last movement of the row of `movement_time` that it is filed in.
    pub filed: (LevelKey, Version),
    /// The movement.
    pub at: (LevelKey, Version),
}

/// One page of a list by time.
#[derive(Debug)]
pub struct TimePage<Place> {
    /// The movements.
    pub movements: Vec<Movement>,
    /// After which place the next page begins; none when this is the last.
    pub next: Option<Place>,
}

impl Store {
    /// Reads the movements of all levels from `from` on and before `until`, in the order of
    /// their times, those after a place and at most `limit` of them. Of one time, those
    /// of one commit come together, in ascending (sku, location, version).
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_movements_by_time(
        &self,
        from: Timestamp,
        until: Timestamp,
        after: Option<&TimePlace>,
        limit: usize,
    ) -> Result<TimePage<TimePlace>, StorageError> {
        let backend = self.backend();
        let text = match backend {
            DbBackend::Postgres => ALL_POSTGRES,
            _ => ALL_SQLITE,
        };
        let time = after.map_or(from, |place| place.time);
        let mut values = vec![time.us().into()];
        for place in [after.map(|it| &it.filed), after.map(|it| &it.at)] {
            // No name is empty: before all of them.
            let names = place.map(|(key, _)| (key.sku.as_str(), key.location.as_str()));
            let (sku, location) = names.unwrap_or_default();
            let version = place.map_or(0, |(_, version)| version.number());
            values.extend([sku.into(), location.into(), version.into()]);
        }
        // One more says whether there is another page.
        values.extend([until.us().into(), (limit as i64 + 1).into()]);
        let rows = self.rows(Statement::from_sql_and_values(backend, text, values));
        let rows = rows.await?;
        let (movements, more) = page(&rows, limit)?;
        let last = rows[..movements.len()].last().filter(|_| more);
        let next = last.zip(movements.last()).map(|(row, movement)| {
            let sku: String = row.try_get("", "t_sku")?;
            let location: String = row.try_get("", "t_location")?;
            let version = Version::new(row.try_get("", "t_version")?);
            Ok::<_, StorageError>(TimePlace {
                time: movement.time,
                filed: (stock::key(&sku, &location)?, version),
                at: (movement.key.clone(), movement.version),
            })
        });
        let next = next.transpose()?;
        Ok(TimePage { movements, next })
    }

    /// Reads the movements of a level that were made from `from` on and before `until`,
    /// those above a version and at most `limit` of them. A page may be short, or empty,
    /// and have a next one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_level_movements_by_time(
        &self,
        key: &LevelKey,
        (from, until): (Timestamp, Timestamp),
        after: Version,
        limit: usize,
    ) -> Result<TimePage<Version>, StorageError> {
        let apart_us = CLOCKS_APART_MAX.as_micros() as i64;
        let begin = self.version_at(key, from.us().saturating_sub(apart_us));
        let begin = begin.await?.map_or(0, |first| first - 1);
        let end = self.version_at(key, until.us().saturating_add(apart_us));
        // Without a level there is no movement.
        let end = end.await?.unwrap_or_default();
        let after = after.number().max(begin);
        let before = end.min(after.saturating_add(EXAMINED_MAX + 1));
        let values = [
            key.sku.as_str().into(),
            key.location.as_str().into(),
            after.into(),
            before.into(),
            from.us().into(),
            until.us().into(),
            (limit as i64 + 1).into(),
        ];
        let backend = self.backend();
        let rows = self.rows(Statement::from_sql_and_values(backend, OF_LEVEL, values));
        let (movements, more) = page(&rows.await?, limit)?;
        let next = match movements.last().filter(|_| more) {
            Some(last) => Some(last.version),
            None => (before < end).then(|| Version::new(before - 1)),
        };
        Ok(TimePage { movements, next })
    }

    /// The first version of a level that was made at a time or later; none of a level
    /// without any.
    async fn version_at(&self, key: &LevelKey, us: i64) -> Result<Option<i64>, StorageError> {
        let values = [
            key.sku.as_str().into(),
            key.location.as_str().into(),
            us.into(),
        ];
        let backend = self.backend();
        let rows = self.rows(Statement::from_sql_and_values(backend, VERSION_AT, values));
        let rows = rows.await?;
        let first = rows.first().map(|row| row.try_get_by_index(0));
        Ok(first.transpose()?)
    }
}

/// The first `limit` movements, and whether there is one more.
fn page(rows: &[QueryResult], limit: usize) -> Result<(Vec<Movement>, bool), StorageError> {
    let movements = rows
        .iter()
        .take(limit)
        .map(|row| stock::movement_of(movement::Model::from_query_result(row, "")?));
    Ok((movements.collect::<Result<_, _>>()?, rows.len() > limit))
}
