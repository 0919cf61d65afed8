//! ListOrders.

use uuid::Uuid;

use super::convert::{self, Fields};
use super::mask::Mask;
use super::page::{Tokens, page_size, times, version};
use crate::domain::{NewOrder, OrderId, OrderState};
use crate::error::Error;
use crate::proto;
use crate::storage::{OrderFilter, OrderParts, OrderPlace, Store};

pub(super) async fn list(
    store: &Store,
    request: proto::ListOrdersRequest,
) -> Result<proto::ListOrdersResponse, Error> {
    let asked = Asked::parse(request)?;
    let parts = parts(&asked.mask);
    let page = store.list_orders(&asked.filter, parts, asked.after, asked.size);
    let page = page.await?;
    let next = page.next.map(|place| match place {
        OrderPlace::Id(id) => asked.tokens.after(id),
        OrderPlace::Version(version) => asked.tokens.after(version),
    });
    Ok(proto::ListOrdersResponse {
        orders: page.orders.iter().map(|it| asked.mask.of(it)).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// What must be read of an order to answer with these fields.
pub(super) fn parts(mask: &Mask<proto::Order>) -> OrderParts {
    OrderParts {
        lines: mask.has("lines"),
        labels: mask.has("labels"),
    }
}

/// What one page of ListOrders shows.
struct Asked {
    size: usize,
    tokens: Tokens,
    after: Option<OrderPlace>,
    filter: OrderFilter,
    mask: Mask<proto::Order>,
}

impl Asked {
    fn parse(mut request: proto::ListOrdersRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let size = page_size(&mut fields, std::mem::take(&mut request.page_size));
        let token = std::mem::take(&mut request.page_token);
        let read_mask = request.read_mask.take();
        let tokens = Tokens::of("ListOrders", &request);
        let state = state(&mut fields, request.state);
        let customer_max = NewOrder::CUSTOMER_REF_BYTES_MAX;
        fields.text("customer_ref", &request.customer_ref, customer_max);
        convert::labels(&mut fields, &request.labels);
        let level = request.level.as_ref();
        let level = level.and_then(|key| fields.key("level.", &key.sku, &key.location));
        let (from, until) = times(&mut fields, request.start_time, request.end_time);
        let by_version = request.level.is_some();
        let after = tokens.place(&mut fields, &token, |place| {
            if by_version {
                version(place).map(OrderPlace::Version)
            } else {
                let id = Uuid::try_parse(place).ok();
                id.map(|id| OrderPlace::Id(OrderId(id)))
            }
        });
        let mask = Mask::parse(&mut fields, read_mask.as_ref());
        let filter = OrderFilter {
            state,
            customer_ref: request.customer_ref,
            labels: request.labels,
            level,
            from,
            until,
        };
        fields.finish(Some(Self {
            size,
            tokens,
            after,
            filter,
            mask,
        }))
    }
}

fn state(fields: &mut Fields, number: i32) -> Option<OrderState> {
    let state = OrderState::from_number(number);
    if state.is_none() && number != proto::OrderState::Unspecified as i32 {
        fields.refuse("state", format!("must be a state, is {number}"));
    }
    state
}
