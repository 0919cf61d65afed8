//! Reading the ledger as it is: whole movements, of a level or of an order.
//!
//! Every read takes its rows by the primary key (sku, location, version), so it costs
//! what it returns, however long the history is. All of it reads the primary.

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::movement;
use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store, stock};
use crate::domain::{LevelKey, Movement, Order, Version};

/// All of `movement AS m`. By name and not `*`: prepared with that, a statement fails on
/// its connection from the moment that a migration adds a column to the table.
macro_rules! columns_of_movement {
    () => {
        "m.sku, m.location, m.version, m.kind, m.on_hand_delta, m.reserved_delta, m.on_hand, \
         m.reserved, m.time_us, m.order_id, m.request_id, m.note, m.counterpart_location, \
         m.counterpart_version"
    };
}

pub(super) use columns_of_movement;

const BY_VERSION: RawStatement = RawStatement {
    postgres: concat!(
        "SELECT ",
        columns_of_movement!(),
        "
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS k (place, sku, location, version)
JOIN movement AS m ON m.sku = k.sku AND m.location = k.location AND m.version = k.version"
    ),
    sqlite: concat!(
        "SELECT ",
        columns_of_movement!(),
        "
FROM json_each($1) AS k
CROSS JOIN movement AS m
ON m.sku = k.value ->> 0 AND m.location = k.value ->> 1 AND m.version = k.value ->> 2"
    ),
};

/// One page of movements.
#[derive(Debug, PartialEq, Eq)]
pub struct MovementPage {
    /// The movements.
    pub movements: Vec<Movement>,
    /// Whether there are movements after the last one.
    pub more: bool,
}

impl Store {
    /// Reads the movements of a level above a version, oldest first, at most `limit` of
    /// them. Promises that none is left out.
    ///
    /// # Errors
    /// The database failed, or its ledger has a hole.
    pub async fn list_movements(
        &self,
        key: &LevelKey,
        after: Version,
        limit: usize,
    ) -> Result<MovementPage, StorageError> {
        let find = movement::Entity::find()
            .filter(movement::Column::Sku.eq(key.sku.as_str()))
            .filter(movement::Column::Location.eq(key.location.as_str()))
            .filter(movement::Column::Version.gt(after.number()))
            .order_by_asc(movement::Column::Version)
            // One more says whether there is another page.
            .limit(limit as u64 + 1);
        let read = async { Ok(find.all(&self.readers()).await?) };
        let mut rows = self.readers.bounded(read).await?;
        let mut last = after;
        for row in &rows {
            if row.version != last.next().number() {
                let (found, level) = (row.version, key);
                let hole = format!("after version {last} of {level} the ledger has {found}");
                return Err(StorageError::corrupt(hole));
            }
            last = last.next();
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let movements = rows.into_iter().map(stock::movement_of);
        Ok(MovementPage {
            movements: movements.collect::<Result<_, _>>()?,
            more,
        })
    }

    /// Reads the movements of an order, in ascending (sku, location, version), those
    /// after `after` and at most `limit` of them. The order names them.
    ///
    /// # Errors
    /// The database failed, its ledger lacks one of them, or it is another order's.
    pub async fn list_order_movements(
        &self,
        order: &Order,
        after: Option<&(LevelKey, Version)>,
        limit: usize,
    ) -> Result<MovementPage, StorageError> {
        let after = after.map(|(key, version)| (key, *version));
        let places = order.movements().into_iter();
        let places: Vec<_> = places.filter(|place| Some(*place) > after).collect();
        let more = places.len() > limit;
        let places = places.into_iter().take(limit);
        let places: Vec<_> = places.map(|(key, at)| (key.clone(), at)).collect();
        let movements = self.read_movements(&places).await?;
        if movements.len() < places.len() {
            let lost = format!("order {}: the ledger lacks a movement", order.order_id);
            return Err(StorageError::corrupt(lost));
        }
        let order = order.order_id;
        if let Some(foreign) = movements.iter().find(|it| it.order_id != Some(order)) {
            let (level, version) = (&foreign.key, foreign.version);
            let foreign = format!("order {order}: it did not make version {version} of {level}");
            return Err(StorageError::corrupt(foreign));
        }
        Ok(MovementPage { movements, more })
    }

    async fn read_movements(
        &self,
        places: &[(LevelKey, Version)],
    ) -> Result<Vec<Movement>, StorageError> {
        let asked = [RawValue::Versions(places)];
        let rows = self.readers.rows(BY_VERSION, &asked).await?;
        let movements = rows
            .iter()
            .map(|row| stock::movement_of(movement::Model::from_query_result(row, "")?));
        let mut movements: Vec<Movement> = movements.collect::<Result<_, _>>()?;
        movements.sort_by(|a, b| (&a.key, a.version).cmp(&(&b.key, b.version)));
        Ok(movements)
    }
}
