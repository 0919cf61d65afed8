//! Reading the ledger onwards from versions that somebody has seen.

use sea_orm::QueryResult;

use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store};
use crate::domain::{LevelKey, StockLevel, Timestamp, Version};

/// `place` is the level's in the question. Each level's movements come from its own
/// piece of the primary key, in order, and no more of them than a page takes: the
/// statement costs what it returns, however much lies behind it. There is no ORDER BY
/// over all of them, which would read everything first and sort it.
///
/// CROSS JOIN tells SQLite to join in this order, and so to stop at the limit.
const CHANGES_AFTER: RawStatement = RawStatement {
    postgres: "\
SELECT k.place, m.version, m.on_hand, m.reserved, m.time_us, l.low_stock_threshold, l.backorder_limit
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS k (place, sku, location, after)
JOIN stock_level AS l ON l.sku = k.sku AND l.location = k.location
CROSS JOIN LATERAL (
    SELECT version, on_hand, reserved, time_us FROM movement
    WHERE sku = k.sku AND location = k.location AND version > k.after
    ORDER BY version
    LIMIT $5
) AS m
LIMIT $5",
    sqlite: "\
SELECT k.key, m.version, m.on_hand, m.reserved, m.time_us, l.low_stock_threshold, l.backorder_limit
FROM json_each($1) AS k
CROSS JOIN stock_level AS l ON l.sku = k.value ->> 0 AND l.location = k.value ->> 1
CROSS JOIN movement AS m ON m.sku = l.sku AND m.location = l.location AND m.version > k.value ->> 2
LIMIT $2",
};

/// A piece of what became of some levels.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangesPage {
    /// Levels as movements left them, grouped by level, versions rising. Threshold
    /// and limit are not in the ledger: they are the present ones.
    pub levels: Vec<StockLevel>,
    /// Whether the page was full. If so, any of the levels may have more.
    pub cut: bool,
}

impl Store {
    /// Reads what levels were after each movement above a version, at most `limit`
    /// of them. Of each level it is the movements that come next, without a gap.
    /// Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn read_changes_after(
        &self,
        after: &[(LevelKey, Version)],
        limit: usize,
    ) -> Result<ChangesPage, StorageError> {
        if after.is_empty() {
            let (levels, cut) = (Vec::new(), false);
            return Ok(ChangesPage { levels, cut });
        }
        let asked = [RawValue::Versions(after), RawValue::Number(limit as i64)];
        let rows = self.readers.rows(CHANGES_AFTER, &asked).await?;
        let cut = rows.len() >= limit;
        let levels = rows.iter().map(|row| level(after, row));
        let mut levels: Vec<_> = levels.collect::<Result<_, _>>()?;
        // As a rule they come so.
        levels.sort_by_key(|(place, level)| (*place, level.version));
        let levels = levels.into_iter().map(|(_, level)| level).collect();
        Ok(ChangesPage { levels, cut })
    }
}

fn level(
    after: &[(LevelKey, Version)],
    row: &QueryResult,
) -> Result<(usize, StockLevel), StorageError> {
    let place = usize::try_from(row.try_get_by_index::<i64>(0)?).ok();
    let asked = place.and_then(|place| Some((place, after.get(place)?)));
    let (place, (key, _)) =
        asked.ok_or_else(|| StorageError::corrupt("a level was not asked for"))?;
    let level = StockLevel {
        key: key.clone(),
        version: Version::new(row.try_get_by_index(1)?),
        on_hand: row.try_get_by_index(2)?,
        reserved: row.try_get_by_index(3)?,
        updated: Timestamp::from_us(row.try_get_by_index(4)?),
        low_stock_threshold: row.try_get_by_index(5)?,
        backorder_limit: row.try_get_by_index(6)?,
    };
    Ok((place, level))
}
