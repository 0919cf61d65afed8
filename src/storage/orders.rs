//! Reading orders, and the form of their lines in the database.

use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult as _, QueryResult, Statement,
};
use serde::Deserialize;
use uuid::Uuid;

use super::entity::{order, request};
use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store, WriteTx, stock};
use crate::domain::{
    Order, OrderId, OrderLine, OrderState, Quantity, RequestId, Timestamp, Version,
};

/// What to select of `orders AS o`. By name and not `*`: prepared with that, a statement
/// fails on its connection from the moment that a migration adds a column to the table.
macro_rules! columns_of_order {
    () => {
        columns_of_order!("o.lines, o.moved", "o.labels")
    };
    ($lines:literal, $labels:literal) => {
        concat!(
            "o.order_id, o.request_id, o.state, o.customer_ref, o.created_us, \
             o.updated_us, o.version, o.expires_us, o.cancel_reason, ",
            $lines,
            ", ",
            $labels
        )
    };
}

pub(super) use columns_of_order;

const LOAD: RawStatement = RawStatement {
    postgres: concat!(
        "SELECT ",
        columns_of_order!(),
        " FROM orders AS o WHERE o.order_id = ANY ($1)"
    ),
    sqlite: concat!(
        "SELECT ",
        columns_of_order!(),
        " FROM orders AS o WHERE o.order_id IN (SELECT unhex(value) FROM json_each(?))"
    ),
};

/// In the order in which every batch locks orders.
const LOCK: RawStatement = RawStatement {
    postgres: concat!(
        "SELECT ",
        columns_of_order!(),
        " FROM orders AS o WHERE o.order_id = ANY ($1) ORDER BY o.order_id FOR UPDATE"
    ),
    // The transaction itself is the lock.
    sqlite: LOAD.sqlite,
};

/// What can be large in an order, and need not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderParts {
    /// Its lines. An order that is read without them has none, and names no movements.
    pub lines: bool,
    /// Its labels.
    pub labels: bool,
}

impl OrderParts {
    /// What to select of `orders AS o`.
    pub(super) fn columns(self, backend: DbBackend) -> &'static str {
        let Self { lines, labels } = self;
        match (backend, lines, labels) {
            (_, true, true) => columns_of_order!(),
            (_, true, false) => columns_of_order!("o.lines, o.moved", "NULL AS labels"),
            (DbBackend::Postgres, false, true) => {
                columns_of_order!("'[]'::json AS lines, NULL AS moved", "o.labels")
            }
            (DbBackend::Postgres, false, false) => {
                columns_of_order!("'[]'::json AS lines, NULL AS moved", "NULL AS labels")
            }
            (_, false, true) => columns_of_order!("'[]' AS lines, NULL AS moved", "o.labels"),
            (_, false, false) => {
                columns_of_order!("'[]' AS lines, NULL AS moved", "NULL AS labels")
            }
        }
    }
}

impl Store {
    /// Finds an order by its id. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_order(
        &self,
        id: OrderId,
        parts: OrderParts,
    ) -> Result<Option<Order>, StorageError> {
        let read = async { find(&self.readers(), id.0, parts).await };
        self.readers.bounded(read).await
    }

    /// Finds the order that a request made. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_order_of(
        &self,
        id: &RequestId,
        parts: OrderParts,
    ) -> Result<Option<Order>, StorageError> {
        let read = async {
            let readers = self.readers();
            let row = request::Entity::find_by_id(id.as_str())
                .one(&readers)
                .await?;
            match row.and_then(|row| row.order_id) {
                Some(order_id) => find(&readers, order_id, parts).await,
                None => Ok(None),
            }
        };
        self.readers.bounded(read).await
    }

    /// Reads those of `ids` that are orders, in any order, for the engine to change.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load_orders(&self, ids: &[OrderId]) -> Result<Vec<Arc<Order>>, StorageError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.writer.rows(LOAD, &[RawValue::Ids(ids)]).await?;
        rows.iter().map(|row| loaded(row)?.1).collect()
    }

    /// As [`Store::load_orders`], beside the commits, for callers who wait.
    ///
    /// # Errors
    /// The database failed.
    pub async fn read_orders(&self, ids: &[OrderId]) -> Result<Vec<ReadOrder>, StorageError> {
        let rows = self.readers.rows(LOAD, &[RawValue::Ids(ids)]).await?;
        rows.iter().map(loaded).collect()
    }
}

impl WriteTx {
    /// Reads orders and keeps their rows locked until the transaction ends. Levels are
    /// locked after them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_orders(&mut self, ids: &[OrderId]) -> Result<Vec<Arc<Order>>, StorageError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows(LOCK, &[RawValue::Ids(ids)]).await?;
        rows.iter().map(|row| loaded(row)?.1).collect()
    }
}

/// An order that was asked for; or what makes no sense about its row, which is no fault of
/// those that were read with it.
pub type ReadOrder = (OrderId, Result<Arc<Order>, StorageError>);

fn loaded(row: &QueryResult) -> Result<ReadOrder, StorageError> {
    let id: Uuid = row.try_get("", "order_id")?;
    let order = order::Model::from_query_result(row, "").map_err(StorageError::from);
    Ok((OrderId(id), order.and_then(order_of).map(Arc::new)))
}

async fn find(
    connection: &impl ConnectionTrait,
    id: Uuid,
    parts: OrderParts,
) -> Result<Option<Order>, StorageError> {
    let backend = connection.get_database_backend();
    let columns = parts.columns(backend);
    let sql = format!("SELECT {columns} FROM orders AS o WHERE o.order_id = $1");
    let statement = Statement::from_sql_and_values(backend, sql, [id.into()]);
    let Some(row) = connection.query_one_raw(statement).await? else {
        return Ok(None);
    };
    order_of(order::Model::from_query_result(&row, "")?).map(Some)
}

pub(super) fn order_of(row: order::Model) -> Result<Order, StorageError> {
    let corrupt = |what: &dyn std::fmt::Display| {
        StorageError::corrupt(format!("order {}: {what}", row.order_id))
    };
    let lines: Vec<order::Line<'_>> = json(Some(&row.lines)).map_err(|e| corrupt(&e))?;
    let labels = json(row.labels.as_ref()).map_err(|e| corrupt(&e))?;
    let moved: Vec<Vec<i64>> = json(row.moved.as_ref()).map_err(|e| corrupt(&e))?;
    let lines = lines
        .iter()
        .map(|line| {
            Ok(OrderLine {
                key: stock::key(&line.sku, &line.location)?,
                quantity: Quantity::new(line.quantity).map_err(|e| corrupt(&e))?,
                version: Version::new(line.version),
                backordered: line.backordered,
            })
        })
        .collect::<Result<_, StorageError>>()?;
    Ok(Order {
        order_id: OrderId(row.order_id),
        request_id: RequestId::new(row.request_id.as_str()).map_err(|e| corrupt(&e))?,
        state: OrderState::from_number(row.state.into())
            .ok_or_else(|| corrupt(&format!("state is {}", row.state)))?,
        lines,
        customer_ref: row.customer_ref.clone().unwrap_or_default(),
        labels,
        created: Timestamp::from_us(row.created_us),
        updated: Timestamp::from_us(row.updated_us),
        version: row.version,
        expires: row.expires_us.map(Timestamp::from_us),
        cancel_reason: row.cancel_reason.clone().unwrap_or_default(),
        moved: moved
            .into_iter()
            .map(|versions| versions.into_iter().map(Version::new).collect())
            .collect(),
    })
}

/// What a column says; nothing where it is NULL.
fn json<'c, T: Deserialize<'c> + Default>(
    column: Option<&'c serde_json::Value>,
) -> Result<T, serde_json::Error> {
    column.map_or_else(|| Ok(T::default()), T::deserialize)
}

/// None when nothing has moved since the order was made.
pub(super) fn moved_json(order: &Order) -> Option<String> {
    let moved = order.moved.iter();
    let moved: Vec<Vec<i64>> = moved
        .map(|versions| versions.iter().map(|version| version.number()).collect())
        .collect();
    (!moved.is_empty())
        .then(|| serde_json::to_string(&moved).expect("numbers always have a JSON form"))
}

pub(super) fn lines_json(order: &Order) -> String {
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|line| order::Line {
            sku: line.key.sku.as_str().into(),
            location: line.key.location.as_str().into(),
            quantity: line.quantity.units(),
            version: line.version.number(),
            backordered: line.backordered,
        })
        .collect();
    serde_json::to_string(&lines).expect("texts and numbers always have a JSON form")
}

/// None when there are none.
pub(super) fn labels_json(order: &Order) -> Option<String> {
    (!order.labels.is_empty()).then(|| {
        serde_json::to_string(&order.labels).expect("a map of texts always has a JSON form")
    })
}

/// Each label as a row of its own.
pub(super) fn labels(order: &Order) -> impl Iterator<Item = (&str, &str, OrderId)> {
    let labels = order.labels.iter();
    labels.map(|(key, value)| (key.as_str(), value.as_str(), order.order_id))
}
