//! Reading levels and movements.

use sea_orm::{DatabaseConnection, QueryResult};

use super::entity::{movement, stock_level};
use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store};
use crate::domain::{
    Counterpart, Invalid, LevelKey, LoadedLevel, Location, Movement, MovementKind, OrderId,
    RequestId, Sku, StockLevel, Timestamp, Version,
};

/// `place` is the key's in the question. The product is asked for only where
/// there is no level: a level's SKU is known, and its row repeats what the product says.
pub(super) const READ_LEVELS: RawStatement = RawStatement {
    postgres: "\
SELECT k.place, l.on_hand, l.reserved, l.version, coalesce(l.low_stock_threshold, p.low_stock_threshold), l.updated_us, l.deleted,
       coalesce(l.backorder_limit, p.backorder_limit)
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k (place, sku, location)
LEFT JOIN stock_level AS l ON l.sku = k.sku AND l.location = k.location
LEFT JOIN product AS p ON l.sku IS NULL AND p.sku = k.sku",
    sqlite: "\
SELECT k.key, l.on_hand, l.reserved, l.version, coalesce(l.low_stock_threshold, p.low_stock_threshold), l.updated_us, l.deleted,
       coalesce(l.backorder_limit, p.backorder_limit)
FROM json_each($1) AS k
LEFT JOIN stock_level AS l ON l.sku = k.value ->> 0 AND l.location = k.value ->> 1
LEFT JOIN product AS p ON l.sku IS NULL AND p.sku = k.value ->> 0",
};

impl Store {
    /// Reads levels, in the order of `keys`, at one moment. A level without a
    /// row reads as zeros at version 0.
    ///
    /// # Errors
    /// The database failed.
    pub async fn read_levels(&self, keys: &[LevelKey]) -> Result<Vec<LoadedLevel>, StorageError> {
        let read = async { read_levels(&self.readers(), keys).await };
        self.readers.bounded(read).await
    }
}

/// A row of a list of levels, or of another statement with its first columns.
pub(super) fn listed_level(row: &QueryResult) -> Result<StockLevel, StorageError> {
    let (sku, location): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(StockLevel {
        key: key(&sku, &location)?,
        on_hand: row.try_get_by_index(2)?,
        reserved: row.try_get_by_index(3)?,
        version: Version::new(row.try_get_by_index(4)?),
        low_stock_threshold: row.try_get_by_index(5)?,
        backorder_limit: row.try_get_by_index(7)?,
        updated: Timestamp::from_us(row.try_get_by_index(6)?),
    })
}

/// The smallest text above every text that begins with `prefix`; none when all do.
pub(super) fn after_prefix(prefix: &str) -> Option<String> {
    // SKUs are ASCII, so the last character has a successor.
    let last = prefix.chars().last()?;
    let next = char::from_u32(u32::from(last) + 1)?;
    Some(format!(
        "{}{next}",
        &prefix[..prefix.len() - last.len_utf8()]
    ))
}

pub(super) async fn read_levels(
    pool: &DatabaseConnection,
    keys: &[LevelKey],
) -> Result<Vec<LoadedLevel>, StorageError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = READ_LEVELS.on(pool, &[RawValue::Levels(keys)]).await?;
    loaded_levels(keys, rows)
}

/// The levels of `keys`, in their order, from the rows that a query over them gave.
pub(super) fn loaded_levels(
    keys: &[LevelKey],
    rows: Vec<QueryResult>,
) -> Result<Vec<LoadedLevel>, StorageError> {
    let mut levels: Vec<Option<LoadedLevel>> = vec![None; keys.len()];
    for row in rows {
        let place = row.try_get_by_index::<i64>(0)?;
        let place = usize::try_from(place)
            .ok()
            .filter(|place| *place < keys.len());
        let place = place.ok_or_else(|| StorageError::corrupt("a level was not asked for"))?;
        levels[place] = Some(loaded_level(&keys[place], &row)?);
    }
    levels
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| StorageError::corrupt("a level was asked for and not answered"))
}

/// Levels of which nothing is known.
pub(super) fn no_levels(keys: &[LevelKey]) -> Vec<LoadedLevel> {
    let none = |key: &LevelKey| LoadedLevel {
        level: StockLevel::none(key.clone()),
        sku_known: false,
    };
    keys.iter().map(none).collect()
}

/// A row of [`READ_LEVELS`], or of another statement with its columns.
pub(super) fn loaded_level(key: &LevelKey, row: &QueryResult) -> Result<LoadedLevel, StorageError> {
    let threshold: Option<i64> = row.try_get_by_index(4)?;
    let deleted: Option<bool> = row.try_get_by_index(6)?;
    let mut level = StockLevel {
        low_stock_threshold: threshold.unwrap_or(0),
        backorder_limit: row.try_get_by_index::<Option<i64>>(7)?.unwrap_or(0),
        ..StockLevel::none(key.clone())
    };
    if let Some(version) = row.try_get_by_index::<Option<i64>>(3)? {
        level.on_hand = row.try_get_by_index(1)?;
        level.reserved = row.try_get_by_index(2)?;
        level.version = Version::new(version);
        level.updated = Timestamp::from_us(row.try_get_by_index(5)?);
    }
    Ok(LoadedLevel {
        level,
        sku_known: threshold.is_some() && deleted != Some(true),
    })
}

pub(super) fn movement_of(row: movement::Model) -> Result<Movement, StorageError> {
    let request_id = row.request_id.map(RequestId::new).transpose();
    let counterpart = row.counterpart_location.zip(row.counterpart_version);
    let counterpart = counterpart.map(|(location, version)| {
        Ok(Counterpart {
            location: Location::new(&location)?,
            version: Version::new(version),
        })
    });
    let counterpart = counterpart.transpose();
    Ok(Movement {
        key: key(&row.sku, &row.location)?,
        version: Version::new(row.version),
        kind: MovementKind::from_number(row.kind.into())
            .ok_or_else(|| StorageError::corrupt(format!("movement.kind is {}", row.kind)))?,
        on_hand_delta: row.on_hand_delta,
        reserved_delta: row.reserved_delta,
        on_hand: row.on_hand,
        reserved: row.reserved,
        time: Timestamp::from_us(row.time_us),
        order_id: row.order_id.map(OrderId),
        request_id: request_id
            .map_err(|e| StorageError::corrupt(format!("movement.request_id {e}")))?,
        note: row.note.unwrap_or_default(),
        counterpart: counterpart
            .map_err(|e: Invalid| StorageError::corrupt(format!("a counterpart {e}")))?,
    })
}

pub(super) fn level(row: stock_level::Model) -> Result<StockLevel, StorageError> {
    Ok(StockLevel {
        key: key(&row.sku, &row.location)?,
        on_hand: row.on_hand,
        reserved: row.reserved,
        version: Version::new(row.version),
        low_stock_threshold: row.low_stock_threshold,
        backorder_limit: row.backorder_limit,
        updated: Timestamp::from_us(row.updated_us),
    })
}

pub(super) fn key(sku: &str, location: &str) -> Result<LevelKey, StorageError> {
    let corrupt = |e| StorageError::corrupt(format!("{sku:?} at {location:?}: {e}"));
    Ok(LevelKey {
        sku: Sku::new(sku).map_err(corrupt)?,
        location: Location::new(location).map_err(corrupt)?,
    })
}
