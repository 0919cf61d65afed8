//! The deadline of calls: the answer must begin in time. A stream then lives as long as its
//! client wishes.
//!
//! tonic's own timeout answers CANCELLED, as if the caller had hung up; this
//! answers DEADLINE_EXCEEDED, a little before it would. A commit that is under
//! way goes on: the caller learns of it by sending its request_id again. Nobody else knows of
//! such calls, so they are counted here, and with them those whose caller hung up: one whose
//! own timer is a little fast does so at its deadline.

use std::future::ready;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::deadline_passed;
use super::watch::WATCH_STOCK;
use crate::telemetry::{Counter, Unanswered};

/// How much earlier than the caller's own deadline the answer leaves, so that
/// it is this layer's and not tonic's.
const MARGIN: Duration = Duration::from_millis(2);

/// Bounds the time until a call is answered, but for WatchStock, which sees to it by itself.
#[derive(Debug, Clone)]
pub struct DeadlineLayer {
    /// For callers that set no deadline, or a later one.
    max: Duration,
    unanswered: Unanswered,
}

impl DeadlineLayer {
    pub(crate) fn new(max: Duration, unanswered: Unanswered) -> Self {
        Self { max, unanswered }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        let DeadlineLayer { max, unanswered } = self.clone();
        Deadline {
            inner,
            max,
            unanswered,
        }
    }
}

/// A service under a [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    max: Duration,
    unanswered: Unanswered,
}

/// A call to be counted if it is dropped before its answer begins.
struct Call(Option<Counter>);

impl Call {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(unanswered) = &self.0 {
            unanswered.add(1);
        }
    }
}

impl<S> Service<http::Request<Body>> for Deadline<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() == WATCH_STOCK {
            return self.inner.call(request).boxed();
        }
        let call = Call(Some(self.unanswered.of(request.uri().path()).clone()));
        let timeout = caller_timeout(&request)
            .map_or(self.max, |timeout| timeout.saturating_sub(MARGIN))
            .min(self.max);
        if timeout.is_zero() {
            // Begun now, it would race with tonic's own timeout.
            return ready(Ok(deadline_passed().into_http())).boxed();
        }
        let answer = self.inner.call(request);
        async move {
            match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => {
                    call.answered();
                    answer
                }
                Err(_) => Ok(deadline_passed().into_http()),
            }
        }
        .boxed()
    }
}

/// `grpc-timeout`, as <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has it.
fn caller_timeout(request: &http::Request<Body>) -> Option<Duration> {
    let text = request.headers().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;
    use crate::telemetry::METHODS;

    #[test]
    fn every_method_that_can_run_out_of_time_has_its_own_counter() {
        let descriptors = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = descriptors.file.iter().flat_map(|file| &file.service);
        let methods = services.flat_map(|service| &service.method);
        let mut there: BTreeSet<&str> = methods.map(|method| method.name()).collect();
        let (_, watch) = WATCH_STOCK.rsplit_once('/').unwrap();
        assert!(there.remove(watch));
        assert_eq!(BTreeSet::from(METHODS), there);
    }
}
