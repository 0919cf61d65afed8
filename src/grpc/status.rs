//! The one place where errors become status codes.
//!
//! The status of an [`Error`] carries `google.rpc.ErrorInfo` with the reason; the other
//! details are those of the table in docs/architecture.md. Calls that end before or beside
//! their handler have no reason, and statuses without details.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error_span;

use crate::domain::{OrderId, StockLevel};
use crate::error::{Error, Mismatch, Owed, Reason, Shortfall, Violation, chain};
use crate::telemetry;

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "stockroom.v1";

/// Bytes that the headers of an answer may take, each counted as its name, its value and 32
/// more: what grpc-java takes by default, the least of the common clients.
const HEADERS_BYTES_MAX: usize = 8_192;

/// What is kept of them for all headers but the message and the details, and for those that
/// proxies add.
const OTHER_HEADERS_BYTES: usize = 512;

/// What is kept of the details for all but what is listed and the message, which
/// `google.rpc.Status` repeats: ErrorInfo, RetryInfo, ResourceInfo and the names of types.
const OTHER_DETAILS_BYTES: usize = 512;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let reason = error.reason();
        let code = code(reason);
        let message = error.to_string();
        let mut details = ErrorDetails::new();
        let metadata = describe(&error, &mut details, listed_bytes_max(&message));
        details.set_error_info(reason.as_str(), DOMAIN, metadata);
        let mut trailers = MetadataMap::new();
        if error.retryable() {
            let after = retry_after(&error);
            details.set_retry_info(Some(after));
            if code == Code::ResourceExhausted {
                // Read by the retry policies of gRPC libraries (gRFC A6).
                let after_ms = MetadataValue::from(after.as_millis() as u64);
                trailers.insert("grpc-retry-pushback-ms", after_ms);
            }
        }
        Status::with_error_details_and_metadata(code, message, details, trailers)
    }
}

/// Makes the status of an error of a call that changes nothing or has no request_id: where
/// it is logged, the span around the line says what was asked. To be given little: it is
/// written whole.
pub(super) fn about<E: Into<Error>>(
    call: &'static str,
    asked: impl Debug,
) -> impl FnOnce(E) -> Status {
    move |error| {
        let error = error.into();
        if matches!(error, Error::Internal(_) | Error::StoreUnavailable(Some(_))) {
            return error_span!("call", call, ?asked).in_scope(|| error.into());
        }
        error.into()
    }
}

/// The answer to a call whose deadline passed before its own.
pub(super) fn deadline_passed() -> Status {
    Status::deadline_exceeded(
        "the deadline passed; what has a request_id can be sent again with it to learn the outcome",
    )
}

/// A watch was begun and its request did not follow in time.
pub(super) fn request_late() -> Status {
    Status::deadline_exceeded("the request has not come in time")
}

/// A watch was begun and ended without its request; in tonic's words, as other methods say it.
pub(super) fn request_missing() -> Status {
    Status::internal("Missing request message.")
}

/// The request of a watch is compressed. Names what is taken instead, as gRPC demands.
pub(super) fn request_compressed() -> Status {
    let mut status = Status::unimplemented("requests are taken uncompressed");
    let accepted = MetadataValue::from_static("identity");
    status
        .metadata_mut()
        .insert("grpc-accept-encoding", accepted);
    status
}

/// Bytes of listed violations that fit beside `message`. The metadata `total` of `ErrorInfo`
/// counts those that do not.
fn listed_bytes_max(message: &str) -> usize {
    // Percent-encoded in its own header; signs that stay as they are count as if they did not.
    let bytes = message.bytes();
    let encoded: usize = bytes
        .map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 })
        .sum();
    let in_base64 = HEADERS_BYTES_MAX.saturating_sub(OTHER_HEADERS_BYTES + encoded);
    // Which makes 4 bytes of 3.
    (in_base64 / 4 * 3).saturating_sub(message.len() + OTHER_DETAILS_BYTES)
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidRequest | Reason::RequestIdReused => Code::InvalidArgument,
        Reason::SkuNotFound | Reason::OrderNotFound => Code::NotFound,
        Reason::InsufficientStock
        | Reason::StockRemains
        | Reason::BackordersRemain
        | Reason::VersionNotReached
        | Reason::OrderState => Code::FailedPrecondition,
        Reason::VersionMismatch => Code::Aborted,
        Reason::StockContention | Reason::Overloaded | Reason::TooManyWatches => {
            Code::ResourceExhausted
        }
        Reason::StoreUnavailable | Reason::Draining => Code::Unavailable,
        Reason::Internal => Code::Internal,
    }
}

/// How long a caller should wait. A queue empties in the time of a few commits;
/// a database that is away or an instance that is full takes longer.
fn retry_after(error: &Error) -> Duration {
    Duration::from_millis(match error {
        Error::StockContention { .. } | Error::Overloaded(_) | Error::Draining => 100,
        Error::TooManyWatches { .. } => 5_000,
        _ => 1_000,
    })
}

/// Adds the details that go with the error, of what it lists as much as fits into so many
/// bytes, and returns `ErrorInfo`'s metadata.
fn describe(
    error: &Error,
    details: &mut ErrorDetails,
    listed_bytes: usize,
) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: &dyn ToString| {
        metadata.insert(key.to_owned(), value.to_string());
    };
    match error {
        Error::InvalidRequest(violations) => {
            let bytes = |v: &Violation| v.field.len() + v.description.len();
            for v in fitting(violations, listed_bytes, bytes) {
                details.add_bad_request_violation(&v.field, &v.description);
            }
            put("total", &violations.len());
        }
        Error::RequestIdReused(id) => {
            details.add_bad_request_violation("request_id", error.to_string());
            put("request_id", id);
        }
        Error::SkuNotFound(skus) => {
            let skus_that_fit = fitting(skus, listed_bytes, |sku| sku.as_str().len());
            let listed: Vec<&str> = skus_that_fit.iter().map(|sku| sku.as_str()).collect();
            let first = listed.first().copied().unwrap_or_default();
            details.set_resource_info("stockroom.v1.Product", first, "", "unknown SKU");
            put("skus", &listed.join(","));
            put("total", &skus.len());
        }
        Error::OrderNotFound(id) => {
            details.set_resource_info("stockroom.v1.Order", id, "", "unknown order");
        }
        Error::OrderState { order_id, state } => {
            let said = |id: &OrderId| (id.to_string(), format!("the order is {state}"));
            unmet(details, listed_bytes, "ORDER_STATE", &[*order_id], said);
            put("state", state);
        }
        Error::InsufficientStock(_) | Error::StockRemains(_) | Error::BackordersRemain(_) => {
            put("total", &unfit_levels(error, details, listed_bytes));
        }
        Error::VersionMismatch(stale) => {
            if let Some(first) = stale.first() {
                put("expected_version", &first.expected);
                put("version", &first.actual);
            }
            put("total", &unfit_levels(error, details, listed_bytes));
        }
        Error::VersionNotReached { wanted, actual, .. } => {
            put("min_version", wanted);
            put("version", actual);
        }
        Error::TooManyWatches { bound, limit } => {
            let description = format!("at most {limit} {}", bound.unit());
            details.add_quota_failure_violation(bound.to_string(), description);
        }
        Error::StockContention { attempts } => put("attempts", attempts),
        Error::Overloaded(_)
        | Error::StoreUnavailable(_)
        | Error::Draining
        | Error::Internal(_) => {}
    }
    metadata
}

/// Adds the levels that speak against a request, and returns how many there are.
fn unfit_levels(error: &Error, details: &mut ErrorDetails, listed_bytes: usize) -> usize {
    match error {
        Error::InsufficientStock(short) => {
            let said = |s: &Shortfall| {
                let mut said = format!("requested {}, available {}", s.requested, s.available);
                if s.backorder_limit > 0 {
                    said += &format!(", backorder_limit {}", s.backorder_limit);
                }
                (s.key.to_string(), said)
            };
            unmet(details, listed_bytes, "STOCK", short, said);
            short.len()
        }
        Error::StockRemains(levels) => {
            let said = |level: &StockLevel| {
                let (on_hand, reserved) = (level.on_hand, level.reserved);
                let description = format!("on_hand {on_hand}, reserved {reserved}");
                (level.key.to_string(), description)
            };
            unmet(details, listed_bytes, "STOCK", levels, said);
            levels.len()
        }
        Error::BackordersRemain(beyond) => {
            let said = |it: &Owed| {
                let (available, limit) = (it.available, it.backorder_limit);
                let description = format!("available {available}, backorder_limit {limit}");
                (it.key.to_string(), description)
            };
            unmet(details, listed_bytes, "STOCK", beyond, said);
            beyond.len()
        }
        Error::VersionMismatch(stale) => {
            let said = |s: &Mismatch| {
                let description = format!("expected {}, is {}", s.expected, s.actual);
                (s.key.to_string(), description)
            };
            unmet(details, listed_bytes, "VERSION", stale, said);
            stale.len()
        }
        _ => 0,
    }
}

/// Adds a violation for each of `items` that fits: what it is of, and what is wrong.
fn unmet<T>(
    details: &mut ErrorDetails,
    listed_bytes: usize,
    kind: &str,
    items: &[T],
    said: impl Fn(&T) -> (String, String),
) {
    let bytes = |item: &T| {
        let (subject, description) = said(item);
        kind.len() + subject.len() + description.len()
    };
    for item in fitting(items, listed_bytes, bytes) {
        let (subject, description) = said(item);
        details.add_precondition_failure_violation(kind, subject, description);
    }
}

/// The first of `items` that fit into `bytes_max`, each with `bytes` of text.
fn fitting<T>(items: &[T], bytes_max: usize, bytes: impl Fn(&T) -> usize) -> &[T] {
    /// Tags and lengths around the texts of one item, which has three at most.
    const FRAME_BYTES: usize = 12;
    let mut sum = 0;
    let count = items
        .iter()
        .take_while(|item| {
            sum += bytes(item) + FRAME_BYTES;
            sum <= bytes_max
        })
        .count();
    &items[..count]
}

/// Logs what the operator must know, once: here the error leaves the program, and the span
/// around it says for which request, or what was asked for.
fn log(error: &Error) {
    match error {
        Error::Internal(source) => tracing::error!(error = chain(source), "internal error"),
        Error::StoreUnavailable(Some(source)) => telemetry::store_unavailable("a call", source),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::domain::{Sku, Version};
    use crate::samples::key_at;

    const MANY: i64 = 1_000_000_000;

    fn many<T>(item: impl Fn(usize) -> T) -> Vec<T> {
        (1..=999).map(item).collect()
    }

    /// Errors that list many levels, with names of so many characters.
    fn wide(name_chars: usize) -> [Error; 6] {
        let name = |i| format!("{i:0name_chars$}");
        let sku = |i| Sku::new(name(i)).expect("it is one");
        let key = |i| key_at(&name(i), &name(i));
        [
            Error::InvalidRequest(many(|i| Violation {
                field: format!("lines[{i}].quantity"),
                description: format!("must be 1 to 1000000, is {MANY}"),
            })),
            Error::SkuNotFound(many(sku)),
            Error::InsufficientStock(many(|i| Shortfall {
                key: key(i),
                requested: MANY,
                available: -MANY,
                backorder_limit: MANY,
            })),
            Error::StockRemains(many(|i| StockLevel {
                on_hand: MANY,
                reserved: MANY,
                ..StockLevel::none(key(i))
            })),
            Error::BackordersRemain(many(|i| Owed {
                key: key(i),
                available: -MANY,
                backorder_limit: MANY,
            })),
            Error::VersionMismatch(many(|i| Mismatch {
                key: key(i),
                expected: Version::new(i64::MAX - 1),
                actual: Version::new(i64::MAX),
            })),
        ]
    }

    #[test]
    fn what_lists_too_much_fills_the_headers_that_clients_take_and_no_more() {
        for name_chars in [3, 8, 64] {
            for error in wide(name_chars) {
                let reason = error.reason().as_str();
                let mut headers = HeaderMap::new();
                let added = Status::from(error).add_header(&mut headers);
                added.expect("all of it is ASCII");
                let lengths = headers
                    .iter()
                    .map(|(name, value)| name.as_str().len() + value.len());
                let bytes: usize = lengths.map(|length| length + 32).sum();
                let most = HEADERS_BYTES_MAX - OTHER_HEADERS_BYTES;
                assert!(bytes <= most, "{reason} takes {bytes}");
                // Unknown SKUs are a list in one text, with less around each than is counted.
                let is_full = bytes > most * 2 / 3 || reason == "SKU_NOT_FOUND";
                assert!(is_full, "{reason} takes but {bytes}");
            }
        }
    }
}
