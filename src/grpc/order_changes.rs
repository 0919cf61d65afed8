//! From messages to changes of orders: confirm, cancel, hold for longer.

use std::time::Duration;

use prost_types::Duration as PbDuration;

use super::convert::{Fields, parse_order_id};
use crate::domain::{Adjustment, Hold, OrderId, RequestId, Transition};
use crate::error::Error;
use crate::proto;

/// A hold of 1 s to `max`. Refuses what is no duration by protobuf's rules
/// (<https://protobuf.dev/reference/protobuf/google.protobuf/#duration>), which keep nanos
/// below a second and give them the sign of the seconds, though it would add up to one.
pub(super) fn hold(fields: &mut Fields, length: &PbDuration, max: Duration) -> Option<Hold> {
    // Seconds below 0 are too short whatever the nanos are.
    if !(0..1_000_000_000).contains(&length.nanos) {
        let nanos = length.nanos;
        fields.refuse(
            "hold",
            format!("must have 0 to 999999999 nanos, has {nanos}"),
        );
        return None;
    }
    let min_us = Hold::LENGTH_MIN_US;
    let max_us = i64::try_from(max.as_micros()).unwrap_or(i64::MAX);
    let is_whole = length.nanos % 1_000 == 0;
    let us = length.seconds.checked_mul(1_000_000);
    let us = us.and_then(|us| us.checked_add(i64::from(length.nanos) / 1_000));
    let us = us.filter(|us| is_whole && (min_us..=max_us).contains(us));
    if us.is_none() {
        let (max, seconds, nanos) = (max.as_secs_f64(), length.seconds, length.nanos);
        let bound = format!("must be 1 s to {max} s in whole microseconds");
        fields.refuse("hold", format!("{bound}, is {seconds} s and {nanos} ns"));
    }
    us.map(Hold::of)
}

/// What a request says that changes an order: which one, under which key, and how.
pub(super) type Asked = (OrderId, RequestId, Transition);

pub(super) fn confirm(request: &proto::ConfirmOrderRequest) -> Result<Asked, Error> {
    let mut fields = Fields::default();
    let named = named_order(&mut fields, &request.request_id, &request.order_id);
    fields.finish(named.map(|(id, request_id)| (id, request_id, Transition::Confirm)))
}

pub(super) fn cancel(request: proto::CancelOrderRequest) -> Result<Asked, Error> {
    let mut fields = Fields::default();
    let named = named_order(&mut fields, &request.request_id, &request.order_id);
    fields.text("reason", &request.reason, Adjustment::NOTE_BYTES_MAX);
    let transition = Transition::Cancel {
        reason: request.reason,
        restock: request.restock.unwrap_or(true),
    };
    fields.finish(named.map(|(id, request_id)| (id, request_id, transition)))
}

pub(super) fn extend(
    request: &proto::ExtendHoldRequest,
    hold_max: Duration,
) -> Result<Asked, Error> {
    let mut fields = Fields::default();
    let named = named_order(&mut fields, &request.request_id, &request.order_id);
    // A missing one is out of bounds like one of no length.
    let length = request.hold.unwrap_or_default();
    let hold = hold(&mut fields, &length, hold_max);
    let asked = named.zip(hold);
    fields.finish(asked.map(|((id, request_id), hold)| (id, request_id, Transition::Extend(hold))))
}

fn named_order(
    fields: &mut Fields,
    request_id: &str,
    order_id: &str,
) -> Option<(OrderId, RequestId)> {
    let request_id = fields.take("request_id", RequestId::new(request_id));
    let order_id = fields.take("order_id", parse_order_id(order_id));
    order_id.zip(request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(10);

    /// What becomes of a hold, as microseconds or as what is said of the field.
    fn taken(seconds: i64, nanos: i32) -> Result<i64, String> {
        let mut fields = Fields::default();
        let hold = hold(&mut fields, &PbDuration { seconds, nanos }, MAX);
        let taken = fields.finish(hold.map(|hold| hold.length_us));
        taken.map_err(|error| match error {
            Error::InvalidRequest(violations) => violations[0].description.clone(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_hold_is_taken_within_its_bounds() {
        assert_eq!(taken(1, 0), Ok(1_000_000));
        assert_eq!(taken(9, 999_999_000), Ok(9_999_999));
        assert_eq!(taken(10, 0), Ok(10_000_000));
        for (seconds, nanos) in [
            (0, 999_999_000),
            (10, 1_000),
            (1, 1),
            (-2, 0),
            (i64::MAX, 0),
        ] {
            let said = taken(seconds, nanos).unwrap_err();
            let bound = "must be 1 s to 10 s in whole microseconds";
            assert!(said.starts_with(bound), "{seconds} {nanos}: {said}");
        }
    }

    #[test]
    fn what_adds_up_to_a_hold_and_is_no_duration_is_refused() {
        for (seconds, nanos) in [(1, 1_000_000_000), (3, -500_000_000), (0, 2_000_000_000)] {
            let said = taken(seconds, nanos).unwrap_err();
            assert_eq!(said, format!("must have 0 to 999999999 nanos, has {nanos}"));
        }
    }
}
