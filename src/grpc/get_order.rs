//! GetOrder.

use super::convert::{self, Fields};
use super::mask::Mask;
use super::{movements, order_list};
use crate::domain::{OrderId, RequestId};
use crate::error::Error;
use crate::proto::{self, get_order_request::Key};
use crate::storage::Store;

pub(super) async fn get(
    store: &Store,
    request: &proto::GetOrderRequest,
) -> Result<proto::GetOrderResponse, Error> {
    let (named, mask) = parse(request)?;
    let mut parts = order_list::parts(&mask);
    // The lines name the movements.
    parts.lines |= request.with_movements;
    let (found, text) = match named {
        Named::Id(id) => (store.find_order(id, parts).await?, id.to_string()),
        Named::Request(id) => (store.find_order_of(&id, parts).await?, id.to_string()),
    };
    let order = found.ok_or(Error::OrderNotFound(text))?;
    let movements = if request.with_movements {
        movements::of_order(store, &order).await?
    } else {
        Vec::new()
    };
    let order = Some(mask.of(&order));
    Ok(proto::GetOrderResponse { order, movements })
}

/// How a caller names an order.
enum Named {
    Id(OrderId),
    Request(RequestId),
}

fn parse(request: &proto::GetOrderRequest) -> Result<(Named, Mask<proto::Order>), Error> {
    let mut fields = Fields::default();
    let named = match &request.key {
        Some(Key::OrderId(text)) => {
            let id = fields.take("order_id", convert::parse_order_id(text));
            id.map(Named::Id)
        }
        Some(Key::RequestId(text)) => {
            let id = fields.take("request_id", RequestId::new(text.as_str()));
            id.map(Named::Request)
        }
        None => {
            fields.refuse("key", "must be order_id or request_id");
            None
        }
    };
    let mask = Mask::parse(&mut fields, request.read_mask.as_ref());
    fields.finish(named.map(|named| (named, mask)))
}
