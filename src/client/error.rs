//! Why a call failed, as a caller can act on it.

use std::iter::once;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::error::{Reason, UnknownReason, causes, chain, in_one_line};

/// A call that was not answered with OK.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {message}", self.label())]
pub struct ClientError {
    /// The gRPC code.
    pub code: Code,
    /// The server's reason: `OVERLOADED`. Empty when the error did not come
    /// from Stockroom but from the way to it.
    pub reason: String,
    /// What happened, in words.
    pub message: String,
    /// How long the server asked to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The `request_id` that a repeated call was sent with, given or made. When
    /// the attempts ended without a definite answer, sending it again gives one.
    pub request_id: Option<String>,
}

impl ClientError {
    /// Whether the same request, `request_id` included, can succeed later.
    ///
    /// An error with a reason is the server's word, and the reason decides. One
    /// without comes from the connection, so the request had its effect once
    /// or not at all; sending the same `request_id` again settles it.
    pub fn retryable(&self) -> bool {
        if self.reason.is_empty() {
            return matches!(
                self.code,
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::Unknown
                    | Code::Internal
                    | Code::ResourceExhausted
            );
        }
        match self.reason.parse::<Reason>() {
            // Others may end their streams, which a server says with a time to come
            // back. What asks for too many levels stays too much.
            Ok(Reason::TooManyWatches) => self.retry_after.is_some(),
            Ok(reason) => reason.retryable(),
            Err(UnknownReason) => false,
        }
    }

    /// Whether the server gave this reason.
    pub fn has_reason(&self, reason: Reason) -> bool {
        self.reason == reason.as_str()
    }

    /// Whether the error says for certain that nothing was changed. One that ends the
    /// attempts of a [`Retrying`](super::Retrying) says so of all of them.
    pub fn is_refusal(&self) -> bool {
        match self.code {
            // Without a reason it may be the connection's (HTTP/2's ENHANCE_YOUR_CALM), which
            // can end a call that the server has carried out.
            Code::ResourceExhausted => !self.reason.is_empty(),
            Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => true,
            _ => false,
        }
    }

    /// Whether a refusal is about one attempt and says nothing of those before it: the
    /// server answers these before it looks for the `request_id`, and without a reason it
    /// is not even the server's.
    pub(super) fn is_of_the_attempt(&self) -> bool {
        self.is_refusal() && (self.retryable() || self.reason.is_empty())
    }

    /// The same error, when attempts after it ended with `last`, which does not settle it.
    pub(super) fn then(mut self, last: &Self) -> Self {
        self.message = format!("{}; the last attempt: {last}", self.message);
        self.retry_after = last.retry_after;
        self
    }

    /// The reason, or the name of the code when there is none: what to count errors by.
    pub fn label(&self) -> &str {
        if self.reason.is_empty() {
            name(self.code)
        } else {
            &self.reason
        }
    }

    /// The same error, of this request.
    pub(super) fn of_request(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self
    }

    /// Whether this side has waited in vain.
    pub(super) fn is_silence(&self) -> bool {
        self.code == Code::DeadlineExceeded && self.reason.is_empty()
    }

    /// An error that this side found.
    pub(super) fn local(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: String::new(),
            message: message.into(),
            retry_after: None,
            request_id: None,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        // Decoding costs more than the rest of a refusal, so it is done once
        // and only when there is something to decode.
        let (reason, retry_after) = if status.details().is_empty() {
            (String::new(), None)
        } else {
            let details = status.get_error_details();
            (
                details
                    .error_info()
                    .map_or_else(String::new, |info| info.reason.clone()),
                details.retry_info().and_then(|info| info.retry_delay),
            )
        };
        Self {
            code: status.code(),
            reason,
            // A bare "transport error" helps nobody.
            message: in_one_line(once(status.message().to_owned()).chain(causes(&status))),
            retry_after,
            request_id: None,
        }
    }
}

impl From<tonic::transport::Error> for ClientError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::local(Code::Unavailable, chain(&error))
    }
}

/// As gRPC spells it: `RESOURCE_EXHAUSTED`.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn the_reason_and_the_wait_come_from_the_details() {
        let mut details = ErrorDetails::with_retry_info(Some(Duration::from_millis(40)));
        details.set_error_info("OVERLOADED", "stockroom.v1", HashMap::new());
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let error = ClientError::from(status);
        assert_eq!(error.code, Code::ResourceExhausted);
        assert_eq!(error.reason, "OVERLOADED");
        assert_eq!(error.retry_after, Some(Duration::from_millis(40)));
        assert!(error.retryable());
        assert_eq!(error.to_string(), "OVERLOADED: full");
    }

    #[test]
    fn too_many_watches_are_retried_when_the_server_says_after_how_long() {
        let refused = |retry_after| {
            let mut details = ErrorDetails::with_retry_info(retry_after);
            details.set_error_info("TOO_MANY_WATCHES", "stockroom.v1", HashMap::new());
            Status::with_error_details(Code::ResourceExhausted, "full", details)
        };
        let full = ClientError::from(refused(Some(Duration::from_secs(5))));
        assert!(full.retryable());
        let mut details = ErrorDetails::with_quota_failure_violation("targets", "at most 10,000");
        details.set_error_info("TOO_MANY_WATCHES", "stockroom.v1", HashMap::new());
        let too_wide = Status::with_error_details(Code::ResourceExhausted, "wide", details);
        assert!(!ClientError::from(too_wide).retryable());
    }

    #[test]
    fn what_the_connection_says_is_no_refusal() {
        let calm = ClientError::from(Status::resource_exhausted("h2 protocol error"));
        assert!(!calm.is_refusal() && calm.retryable());
        let mut details = ErrorDetails::new();
        details.set_error_info("OVERLOADED", "stockroom.v1", HashMap::new());
        let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
        assert!(ClientError::from(full).is_refusal());
        // The request never came in.
        assert!(ClientError::from(Status::out_of_range("too large")).is_refusal());
    }

    #[test]
    fn a_refusal_is_not_retried_and_a_lost_connection_is() {
        let details =
            ErrorDetails::with_error_info("INSUFFICIENT_STOCK", "stockroom.v1", HashMap::new());
        let refused = Status::with_error_details(Code::FailedPrecondition, "no", details);
        assert!(!ClientError::from(refused).retryable());
        assert!(ClientError::from(Status::unknown("transport error")).retryable());
        assert!(!ClientError::from(Status::unimplemented("no such method")).retryable());
    }
}
