//! Reading orders, and the form of their lines in the database.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, EntityTrait};
use uuid::Uuid;

use super::entity::{order, request};
use super::{StorageError, Store, stock};
use crate::domain::{
    Order, OrderId, OrderLine, OrderState, Quantity, RequestId, Timestamp, Version,
};

impl Store {
    /// Finds an order by its id. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_order(&self, id: OrderId) -> Result<Option<Order>, StorageError> {
        let read = async { find(&self.readers(), id.0).await };
        self.readers.bounded(read).await
    }

    /// Finds the order that a request made. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_order_of(&self, id: &RequestId) -> Result<Option<Order>, StorageError> {
        let read = async {
            let readers = self.readers();
            let row = request::Entity::find_by_id(id.as_str())
                .one(&readers)
                .await?;
            match row.and_then(|row| row.order_id) {
                Some(order_id) => find(&readers, order_id).await,
                None => Ok(None),
            }
        };
        self.readers.bounded(read).await
    }
}

async fn find(connection: &impl ConnectionTrait, id: Uuid) -> Result<Option<Order>, StorageError> {
    let row = order::Entity::find_by_id(id).one(connection).await?;
    row.map(order_of).transpose()
}

pub(super) fn order_of(row: order::Model) -> Result<Order, StorageError> {
    let corrupt = |what: &dyn std::fmt::Display| {
        StorageError::corrupt(format!("order {}: {what}", row.order_id))
    };
    let lines: Vec<order::Line<'_>> =
        serde::Deserialize::deserialize(&row.lines).map_err(|e: serde_json::Error| corrupt(&e))?;
    let labels: BTreeMap<String, String> = match &row.labels {
        None => BTreeMap::new(),
        Some(json) => {
            serde::Deserialize::deserialize(json).map_err(|e: serde_json::Error| corrupt(&e))?
        }
    };
    let lines = lines
        .iter()
        .map(|line| {
            Ok(OrderLine {
                key: stock::key(&line.sku, &line.location)?,
                quantity: Quantity::new(line.quantity).map_err(|e| corrupt(&e))?,
                version: Version::new(line.version),
            })
        })
        .collect::<Result<_, StorageError>>()?;
    Ok(Order {
        order_id: OrderId(row.order_id),
        request_id: RequestId::new(row.request_id.as_str()).map_err(|e| corrupt(&e))?,
        state: match row.state {
            1 => OrderState::Confirmed,
            other => return Err(corrupt(&format!("state is {other}"))),
        },
        lines,
        customer_ref: row.customer_ref.clone().unwrap_or_default(),
        labels,
        created: Timestamp::from_us(row.created_us),
        updated: Timestamp::from_us(row.updated_us),
        version: row.version,
    })
}

pub(super) fn state_number(state: OrderState) -> i16 {
    match state {
        OrderState::Confirmed => 1,
    }
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
