//! What a batch is planned on, read outside of any transaction: the guards of the
//! commit prove afterwards that none of it was stale.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sea_orm::{FromQueryResult as _, QueryResult};
use uuid::Uuid;

use super::super::entity::{movement, order};
use super::super::raw::{RawStatement, RawValue};
use super::super::{StorageError, Store, orders, stock};
use super::WriteTx;
use crate::domain::{Fingerprint, LevelKey, LoadedLevel, RequestId, StoredAnswer, StoredRequest};

/// Requests that have been answered, each with what it made: a row for each movement,
/// in their order. `$asked` stands for those that are asked for.
macro_rules! load_requests {
    ($asked:literal) => {
        concat!(
            "\
SELECT r.request_id, r.fingerprint, r.order_id,
       o.order_id AS o_order_id, o.request_id AS o_request_id, o.state AS o_state, o.lines AS o_lines,
       o.customer_ref AS o_customer_ref, o.labels AS o_labels, o.created_us AS o_created_us,
       o.updated_us AS o_updated_us, o.version AS o_version, o.expires_us AS o_expires_us,
       o.cancel_reason AS o_cancel_reason, o.moved AS o_moved,
       m.sku AS m_sku, m.location AS m_location, m.version AS m_version, m.kind AS m_kind,
       m.on_hand_delta AS m_on_hand_delta, m.reserved_delta AS m_reserved_delta,
       m.on_hand AS m_on_hand, m.reserved AS m_reserved, m.time_us AS m_time_us,
       m.order_id AS m_order_id, m.request_id AS m_request_id, m.note AS m_note,
       m.counterpart_location AS m_counterpart_location, m.counterpart_version AS m_counterpart_version
FROM (SELECT request_id, fingerprint, order_id, 0 AS place, sku, location, version
      FROM request WHERE request_id ",
            $asked,
            "
      UNION ALL
      SELECT f.request_id, r.fingerprint, r.order_id, f.place, f.sku, f.location, f.version
      FROM request_movement AS f JOIN request AS r ON r.request_id = f.request_id
      WHERE f.request_id ",
            $asked,
            ") AS r
LEFT JOIN orders AS o ON o.order_id = r.order_id
LEFT JOIN movement AS m ON m.sku = r.sku AND m.location = r.location AND m.version = r.version
ORDER BY r.request_id, r.place"
        )
    };
}

const LOAD_REQUESTS: RawStatement = RawStatement {
    postgres: load_requests!("= ANY ($1)"),
    sqlite: load_requests!("IN (SELECT value FROM json_each($1))"),
};

/// Of requests that are asked for, those that have been answered.
const ANSWERED: RawStatement = RawStatement {
    postgres: "SELECT request_id FROM request WHERE request_id = ANY ($1)",
    sqlite: "SELECT request_id FROM request WHERE request_id IN (SELECT value FROM json_each($1))",
};

impl Store {
    /// Reads levels to plan on; one entry for each of `keys`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load_levels(&self, keys: &[LevelKey]) -> Result<Vec<LoadedLevel>, StorageError> {
        let read = async { stock::read_levels(&self.writer(), keys).await };
        self.writer.bounded(read).await
    }

    /// Reads those of `requests` that have been answered.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load_requests(
        &self,
        requests: &[&RequestId],
    ) -> Result<HashMap<RequestId, StoredRequest>, StorageError> {
        if requests.is_empty() {
            return Ok(HashMap::new());
        }
        stored_requests(self.writer.rows(LOAD_REQUESTS, &[ids(requests)]).await?)
    }

    /// As [`Store::load_requests`], beside the commits. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn read_requests(
        &self,
        requests: &[&RequestId],
    ) -> Result<HashMap<RequestId, StoredRequest>, StorageError> {
        stored_requests(self.readers.rows(LOAD_REQUESTS, &[ids(requests)]).await?)
    }

    /// The ids of those of `requests` that have been answered. Reads the primary, beside the
    /// commits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn answered_of(
        &self,
        requests: &[RequestId],
    ) -> Result<HashSet<String>, StorageError> {
        let asked = RawValue::texts(requests.iter().map(RequestId::as_str));
        let rows = self.readers.rows(ANSWERED, &[asked]).await?;
        let ids = rows.iter().map(|row| row.try_get_by_index::<String>(0));
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

impl WriteTx {
    /// As [`Store::load_requests`], within the transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load_requests(
        &mut self,
        requests: &[&RequestId],
    ) -> Result<HashMap<RequestId, StoredRequest>, StorageError> {
        if requests.is_empty() {
            return Ok(HashMap::new());
        }
        stored_requests(self.rows(LOAD_REQUESTS, &[ids(requests)]).await?)
    }
}

fn ids<'v>(requests: &[&'v RequestId]) -> RawValue<'v> {
    RawValue::texts(requests.iter().map(|id| id.as_str()))
}

/// The requests of rows that come in the order of [`LOAD_REQUESTS`].
fn stored_requests(
    rows: Vec<QueryResult>,
) -> Result<HashMap<RequestId, StoredRequest>, StorageError> {
    let mut requests: HashMap<RequestId, StoredRequest> = HashMap::new();
    for row in rows {
        let (request_id, stored) = stored_request(&row)?;
        match requests.entry(request_id) {
            Entry::Vacant(first) => {
                first.insert(stored);
            }
            Entry::Occupied(mut earlier) => match (&mut earlier.get_mut().answer, stored.answer) {
                (StoredAnswer::Movements(all), StoredAnswer::Movements(next)) => all.extend(next),
                _ => {
                    let id = earlier.key();
                    return Err(StorageError::corrupt(format!(
                        "request {id} made an order and movements"
                    )));
                }
            },
        }
    }
    Ok(requests)
}

fn stored_request(row: &QueryResult) -> Result<(RequestId, StoredRequest), StorageError> {
    let request_id = RequestId::new(row.try_get_by_index::<String>(0)?)
        .map_err(|e| StorageError::corrupt(format!("request.request_id {e}")))?;
    let fingerprint: [u8; 16] = row
        .try_get_by_index::<Vec<u8>>(1)?
        .try_into()
        .map_err(|_| StorageError::corrupt("request.fingerprint is not of 16 bytes"))?;
    let nothing = || StorageError::corrupt(format!("request {request_id} names nothing"));
    let answer = if row.try_get_by_index::<Option<Uuid>>(2)?.is_some() {
        let order = order::Model::from_query_result_optional(row, "o_")?;
        let order = order.ok_or_else(nothing)?;
        StoredAnswer::Order(Arc::new(orders::order_of(order)?))
    } else {
        let movement = movement::Model::from_query_result_optional(row, "m_")?;
        let movement = movement.ok_or_else(nothing)?;
        StoredAnswer::Movements(vec![Arc::new(stock::movement_of(movement)?)])
    };
    let fingerprint = Fingerprint::from_bytes(fingerprint);
    Ok((
        request_id,
        StoredRequest {
            fingerprint,
            answer,
        },
    ))
}
