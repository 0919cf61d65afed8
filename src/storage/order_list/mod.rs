//! Lists of orders, newest first.
//!
//! A list walks one index backwards and keeps what fits the rest of its filter. Which
//! index depends on the filter alone: the ledger of a level, the orders of a customer,
//! those with a label, or all of them by id. Promises that a page looks at a bounded
//! number of orders however few of them fit, and that pages which follow each other
//! list every order that was there when the first one was read, once. All of it reads
//! the primary.

mod walk;

use std::collections::BTreeMap;

use sea_orm::FromQueryResult as _;
use uuid::Uuid;

use self::walk::{Piece, Walk, first_id_at};
use super::entity::order;
use super::{OrderParts, StorageError, Store, orders};
use crate::domain::{LevelKey, Order, OrderId, OrderState, Timestamp, Version};

/// Orders that a statement looks at, at most: some 10 ms of them.
const EXAMINED_MAX: i64 = 2_000;

/// Orders that a statement returns, at most. An order has up to 1,000 lines, so pages of
/// large ones are put together from several statements, each of which fits in memory.
const CHUNK_ORDERS: usize = 100;

/// Bytes of lines and labels after which a page ends, whatever it was asked for. As
/// messages they are smaller, and stay below the 4 MiB that gRPC clients take.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Which orders to list: those that fit all of it. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// Where they are in their life.
    pub state: Option<OrderState>,
    /// The caller's name for the customer; an empty one fits all.
    pub customer_ref: String,
    /// Labels that they have, among others.
    pub labels: BTreeMap<String, String>,
    /// A level that they took from. The list then goes by its versions.
    pub level: Option<LevelKey>,
    /// The time in their ids, to the millisecond: at or after this …
    pub from: Option<Timestamp>,
    /// … and before this.
    pub until: Option<Timestamp>,
}

/// The place of an order in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderPlace {
    /// In a list that goes by ids.
    Id(OrderId),
    /// In the list of a level.
    Version(Version),
}

/// One page of orders.
#[derive(Debug, Default)]
pub struct OrderPage {
    /// The orders, newest first; there may be none although there is a next page.
    pub orders: Vec<Order>,
    /// After which place the next page begins; none when this is the last.
    pub next: Option<OrderPlace>,
}

impl Store {
    /// Reads the page of at most `limit` orders after `after`, which is a place in the
    /// list of the same filter, and of each of them `parts`. Looks at [`EXAMINED_MAX`] orders at most for each
    /// [`CHUNK_ORDERS`] of the page.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_orders(
        &self,
        filter: &OrderFilter,
        parts: OrderParts,
        after: Option<OrderPlace>,
        limit: usize,
    ) -> Result<OrderPage, StorageError> {
        let mut page = OrderPage::default();
        let (mut bytes, mut after) = (0, after);
        loop {
            let Some((piece, goes_on)) = self.piece(filter, after).await? else {
                return Ok(page);
            };
            let walk = Walk::new(self.backend(), &piece, filter);
            let wanted = CHUNK_ORDERS.min(limit - page.orders.len());
            // One row more says whether there is another.
            let rows = self.rows(walk.orders(parts, wanted + 1)).await?;
            let is_full = rows.len() > wanted;
            for row in rows.iter().take(wanted) {
                let found = order::Model::from_query_result(row, "")?;
                bytes += size(&found);
                after = Some(piece.place(row)?);
                page.orders.push(orders::order_of(found)?);
                if bytes >= PAGE_BYTES_MAX {
                    page.next = after;
                    return Ok(page);
                }
            }
            if !is_full {
                page.next = goes_on;
                return Ok(page);
            }
            if page.orders.len() >= limit {
                page.next = after;
                return Ok(page);
            }
        }
    }

    /// The piece of the list after `after` that may be looked at, and the place at its
    /// end if the list goes on there. None where the list has ended.
    async fn piece(
        &self,
        filter: &OrderFilter,
        after: Option<OrderPlace>,
    ) -> Result<Option<(Piece, Option<OrderPlace>)>, StorageError> {
        if let Some(key) = &filter.level {
            let before = match after {
                Some(OrderPlace::Version(version)) => version,
                _ => {
                    let level = self.read_levels(std::slice::from_ref(key)).await?;
                    let newest = level.first().map(|loaded| loaded.level.version);
                    newest.unwrap_or_default().next()
                }
            };
            // Versions follow each other, so they count the rows between them.
            let from = Version::new((before.number() - EXAMINED_MAX).max(1));
            let goes_on = (from.number() > 1).then_some(OrderPlace::Version(from));
            let piece = Piece::OfLevel(key.clone(), from, before);
            return Ok((before.number() > 1).then_some((piece, goes_on)));
        }
        let from = filter.from.map_or(Uuid::nil(), first_id_at);
        let until = filter.until.map_or(Uuid::max(), first_id_at);
        let before = match after {
            Some(OrderPlace::Id(id)) => until.min(id.0),
            _ => until,
        };
        if from >= before {
            return Ok(None);
        }
        let whole = Piece::OfIds(from, before);
        let walk = Walk::new(self.backend(), &whole, filter);
        if !walk.passes_over_some() {
            // Every order on the walk is one for the page, which bounds it.
            return Ok(Some((whole, None)));
        }
        let rows = self.rows(walk.last_to_look_at()).await?;
        Ok(Some(match rows.first() {
            None => (whole, None),
            Some(row) => {
                let last: Uuid = row.try_get_by_index(0)?;
                let goes_on = OrderPlace::Id(OrderId(last));
                (Piece::OfIds(last, before), Some(goes_on))
            }
        }))
    }
}

/// Bytes of what can be large in an order.
fn size(row: &order::Model) -> usize {
    let labels = row.labels.as_ref().map(ToString::to_string);
    row.lines.to_string().len() + labels.unwrap_or_default().len()
}
