//! The one place where errors become status codes.
//!
//! Every status carries `google.rpc.ErrorInfo` with the reason; the other
//! details are those of the table in docs/architecture.md.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::{OrderId, StockLevel};
use crate::error::{Error, Mismatch, Owed, Reason, Shortfall, chain};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "stockroom.v1";

/// Bytes of listed violations in one status. Details travel in the trailers,
/// for which clients allow 8 KiB by default (base64 makes 4 bytes of 3). The
/// metadata `total` of `ErrorInfo` counts those that did not fit.
const LISTED_BYTES_MAX: usize = 4_500;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let reason = error.reason();
        let code = code(reason);
        let mut details = ErrorDetails::new();
        let metadata = describe(&error, &mut details);
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
        Status::with_error_details_and_metadata(code, error.to_string(), details, trailers)
    }
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

/// Adds the details that go with the error, and returns `ErrorInfo`'s metadata.
fn describe(error: &Error, details: &mut ErrorDetails) -> HashMap<String, String> {
    let mut metadata = HashMap::new();
    let mut put = |key: &str, value: &dyn ToString| {
        metadata.insert(key.to_owned(), value.to_string());
    };
    match error {
        Error::InvalidRequest(violations) => {
            for v in fitting(violations, |v| v.field.len() + v.description.len()) {
                details.add_bad_request_violation(&v.field, &v.description);
            }
            put("total", &violations.len());
        }
        Error::RequestIdReused(id) => {
            details.add_bad_request_violation("request_id", error.to_string());
            put("request_id", id);
        }
        Error::SkuNotFound(skus) => {
            let skus_that_fit = fitting(skus, |sku| sku.as_str().len());
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
            unmet(details, "ORDER_STATE", &[*order_id], said);
            put("state", state);
        }
        Error::InsufficientStock(_) | Error::StockRemains(_) | Error::BackordersRemain(_) => {
            put("total", &unfit_levels(error, details));
        }
        Error::VersionMismatch(stale) => {
            if let Some(first) = stale.first() {
                put("expected_version", &first.expected);
                put("version", &first.actual);
            }
            put("total", &unfit_levels(error, details));
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
fn unfit_levels(error: &Error, details: &mut ErrorDetails) -> usize {
    match error {
        Error::InsufficientStock(short) => {
            let said = |s: &Shortfall| {
                let mut said = format!("requested {}, available {}", s.requested, s.available);
                if s.backorder_limit > 0 {
                    said += &format!(", backorder_limit {}", s.backorder_limit);
                }
                (s.key.to_string(), said)
            };
            unmet(details, "STOCK", short, said);
            short.len()
        }
        Error::StockRemains(levels) => {
            let said = |level: &StockLevel| {
                let (on_hand, reserved) = (level.on_hand, level.reserved);
                let description = format!("on_hand {on_hand}, reserved {reserved}");
                (level.key.to_string(), description)
            };
            unmet(details, "STOCK", levels, said);
            levels.len()
        }
        Error::BackordersRemain(beyond) => {
            let said = |it: &Owed| {
                let (available, limit) = (it.available, it.backorder_limit);
                let description = format!("available {available}, backorder_limit {limit}");
                (it.key.to_string(), description)
            };
            unmet(details, "STOCK", beyond, said);
            beyond.len()
        }
        Error::VersionMismatch(stale) => {
            let said = |s: &Mismatch| {
                let description = format!("expected {}, is {}", s.expected, s.actual);
                (s.key.to_string(), description)
            };
            unmet(details, "VERSION", stale, said);
            stale.len()
        }
        _ => 0,
    }
}

/// Adds a violation for each of `items` that fits: what it is of, and what is wrong.
fn unmet<T>(
    details: &mut ErrorDetails,
    kind: &str,
    items: &[T],
    said: impl Fn(&T) -> (String, String),
) {
    for item in fitting(items, |item| said(item).0.len() + 40) {
        let (subject, description) = said(item);
        details.add_precondition_failure_violation(kind, subject, description);
    }
}

/// The first of `items` that fit into [`LISTED_BYTES_MAX`].
fn fitting<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> &[T] {
    /// Tags and lengths around the texts of one item.
    const FRAME_BYTES: usize = 12;
    let mut sum = 0;
    let count = items
        .iter()
        .take_while(|item| {
            sum += bytes(item) + FRAME_BYTES;
            sum <= LISTED_BYTES_MAX
        })
        .count();
    &items[..count]
}

/// Logs what the operator must know, once: here the error leaves the program,
/// and the span around it says for which request.
fn log(error: &Error) {
    match error {
        Error::Internal(source) => tracing::error!(error = chain(source), "internal error"),
        Error::StoreUnavailable(Some(source)) => {
            tracing::error!(error = chain(source), "the database is unavailable");
        }
        _ => {}
    }
}
