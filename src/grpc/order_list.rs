//! ListOrders.

use prost_types::Timestamp as PbTimestamp;
use uuid::Uuid;

use super::convert::{self, Fields};
use super::page::{Tokens, page_size};
use crate::domain::{OrderId, OrderState, Timestamp, Version};
use crate::error::Error;
use crate::proto;
use crate::storage::{OrderFilter, OrderPlace, Store};

/// Times are from 0001 to 9999 in protobuf
/// (<https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp>).
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

pub(super) async fn list(
    store: &Store,
    request: proto::ListOrdersRequest,
) -> Result<proto::ListOrdersResponse, Error> {
    let asked = Asked::parse(request)?;
    let page = store.list_orders(&asked.filter, asked.after, asked.size);
    let page = page.await?;
    let next = page.next.map(|place| match place {
        OrderPlace::Id(id) => asked.tokens.after(id),
        OrderPlace::Version(version) => asked.tokens.after(version),
    });
    Ok(proto::ListOrdersResponse {
        orders: page.orders.iter().map(Into::into).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// What one page of ListOrders shows.
struct Asked {
    size: usize,
    tokens: Tokens,
    after: Option<OrderPlace>,
    filter: OrderFilter,
}

impl Asked {
    fn parse(mut request: proto::ListOrdersRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let size = page_size(&mut fields, std::mem::take(&mut request.page_size));
        let token = std::mem::take(&mut request.page_token);
        let tokens = Tokens::of("ListOrders", &request);
        let state = state(&mut fields, request.state);
        let customer_max = convert::CUSTOMER_REF_BYTES_MAX;
        fields.text("customer_ref", &request.customer_ref, customer_max);
        convert::labels(&mut fields, &request.labels);
        let level = request.level.as_ref();
        let level = level.and_then(|key| fields.key("level.", &key.sku, &key.location));
        let from = time(&mut fields, "start_time", request.start_time);
        let until = time(&mut fields, "end_time", request.end_time);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            fields.refuse("end_time", "must be after start_time");
        }
        let by_version = request.level.is_some();
        let after = tokens.place(&mut fields, &token, |place| {
            if by_version {
                let number = place.parse().ok().filter(|number| *number > 0);
                number.map(|number| OrderPlace::Version(Version::new(number)))
            } else {
                let id = Uuid::try_parse(place).ok();
                id.map(|id| OrderPlace::Id(OrderId(id)))
            }
        });
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
        }))
    }
}

fn state(fields: &mut Fields, number: i32) -> Option<OrderState> {
    match proto::OrderState::try_from(number) {
        Ok(proto::OrderState::Unspecified) => None,
        Ok(proto::OrderState::Confirmed) => Some(OrderState::Confirmed),
        Err(_) => {
            fields.refuse("state", format!("must be a state, is {number}"));
            None
        }
    }
}

fn time(fields: &mut Fields, field: &str, time: Option<PbTimestamp>) -> Option<Timestamp> {
    let time = time?;
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        fields.refuse(field, "must be a time of the years 1 to 9999");
        return None;
    }
    let us = time.seconds * 1_000_000 + i64::from(time.nanos / 1_000);
    Some(Timestamp::from_us(us))
}
