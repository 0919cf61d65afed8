//! Calls that are repeated for as long as that can help.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tonic::Code;
use uuid::Uuid;

use super::proto::{DeleteProductRequest, DeleteProductResponse};
use super::{Client, ClientError, Lane};
use crate::error::Reason;
use crate::lock::lock;

/// Most attempts of one call.
const ATTEMPTS_MAX: usize = 12;

/// An attempt without an answer is given up after this: what the server allows
/// itself by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The last attempt begins before this, so that a caller is told at last.
const TOTAL: Duration = Duration::from_secs(30);

/// Waits of 10, 20, 40 … milliseconds up to this many, each cut by full jitter.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A [`Client`] that repeats what failed for a passing reason.
///
/// Every attempt sends the same message, so the same `request_id`, which is made
/// for those who give none. Between two it waits what the server asked for, if anything, plus an exponential backoff
/// with full jitter, so that callers refused together do not return together. A connection
/// on which no answer comes in time is not used again.
#[derive(Clone, Debug)]
pub struct Retrying {
    client: Client,
    /// Attempts after a first one, over all clones.
    retries: Arc<AtomicU64>,
}

impl Retrying {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            retries: Arc::default(),
        }
    }

    /// How many attempts after a first one were made through this handle and its clones.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// [`Client::delete_product`], repeated. That the product is unknown, said to an attempt
    /// after one that was not answered for certain, is success: it was there, or nobody
    /// will ever know, and it is gone.
    ///
    /// # Errors
    /// Those of the call, or the last of the attempts failed.
    pub async fn delete_product(
        &self,
        request: &DeleteProductRequest,
    ) -> Result<DeleteProductResponse, ClientError> {
        // Set while an attempt, or one before it, may have deleted it without saying so.
        let unsettled = AtomicBool::new(false);
        self.repeat(async |lane| {
            let before = unsettled.swap(true, Ordering::Relaxed);
            let answer = lane.delete_product(request.clone()).await;
            match answer {
                Err(error)
                    if before
                        && !request.validate_only
                        && error.has_reason(Reason::SkuNotFound) =>
                {
                    Ok(DeleteProductResponse {})
                }
                Err(error) if !before && error.is_refusal() => {
                    unsettled.store(false, Ordering::Relaxed);
                    Err(error)
                }
                answer => answer,
            }
        })
        .await
    }

    /// Attempts, each on the connection whose turn it is. One that does not answer may have
    /// fallen silent: what takes its place is tried next, since others may have as well.
    pub(super) async fn repeat<T, Attempt>(
        &self,
        call: impl Fn(Arc<Lane>) -> Attempt,
    ) -> Result<T, ClientError>
    where
        Attempt: Future<Output = Result<T, ClientError>>,
    {
        let renewed = Mutex::new(None);
        let attempt = async || {
            let lane = lock(&renewed).take().unwrap_or_else(|| self.client.lane());
            let answer = timeout(ATTEMPT_TIMEOUT, call(Arc::clone(&lane))).await;
            answer.unwrap_or_else(|_| {
                *lock(&renewed) = Some(self.client.renew(&lane));
                let silence = format!("no answer within {ATTEMPT_TIMEOUT:?}");
                Err(ClientError::local(Code::DeadlineExceeded, silence))
            })
        };
        repeat(&self.retries, attempt).await
    }
}

/// A key for a request whose caller has none: begins with the time, so that
/// neighbours share pages of the server's index.
pub(super) fn new_request_id() -> String {
    Uuid::now_v7().to_string()
}

/// Attempts until one succeeds, fails for good, or the bounds are met. Counts
/// the attempts after the first in `retries`. Whether something may have been changed, the
/// error tells of all attempts, and not of the last one alone.
async fn repeat<T, Attempt>(
    retries: &AtomicU64,
    attempt: impl Fn() -> Attempt,
) -> Result<T, ClientError>
where
    Attempt: Future<Output = Result<T, ClientError>>,
{
    let deadline = Instant::now() + TOTAL;
    let mut waits = backoff(BACKOFF_MAX).take(ATTEMPTS_MAX - 1);
    // The first error that leaves open whether the attempt was carried out.
    let mut open: Option<ClientError> = None;
    loop {
        let error = match attempt().await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let next = if error.retryable() {
            waits.next()
        } else {
            None
        };
        let next = next.map(|wait| error.retry_after.unwrap_or_default() + jitter(wait));
        let Some(wait) = next.filter(|wait| Instant::now() + *wait <= deadline) else {
            return Err(match open {
                Some(open) if error.is_of_the_attempt() => open.then(&error),
                _ => error,
            });
        };
        if !error.is_refusal() {
            open.get_or_insert(error);
        }
        sleep(wait).await;
        retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// 10, 20, 40 … milliseconds up to `max`, without end and before jitter.
pub(super) fn backoff(max: Duration) -> ExponentialBackoff {
    // The crate's series is base^n × factor: 2 × 5, 4 × 5, …
    ExponentialBackoff::from_millis(2).factor(5).max_delay(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with `error` until the `successful` attempt, counted from 1.
    async fn attempts_until(successful: u64, error: ClientError) -> (u64, Result<(), ClientError>) {
        let (retries, attempts) = (AtomicU64::new(0), AtomicU64::new(0));
        let result = repeat(&retries, async || {
            if attempts.fetch_add(1, Ordering::Relaxed) + 1 == successful {
                Ok(())
            } else {
                Err(error.clone())
            }
        })
        .await;
        let attempts = attempts.into_inner();
        assert_eq!(retries.into_inner(), attempts - 1);
        (attempts, result)
    }

    fn error(reason: &str, retry_after: Duration) -> ClientError {
        ClientError {
            reason: reason.to_owned(),
            retry_after: Some(retry_after),
            ..ClientError::local(Code::ResourceExhausted, "")
        }
    }

    #[tokio::test]
    async fn a_passing_failure_is_retried_after_the_wait_that_the_server_asks_for() {
        let begun = Instant::now();
        let asked = Duration::from_millis(15);
        let (attempts, result) = attempts_until(3, error("OVERLOADED", asked)).await;
        assert_eq!(attempts, 3);
        assert!(result.is_ok());
        assert!(begun.elapsed() >= asked * 2);
    }

    /// What is told when the attempts end with the last of these errors.
    async fn told_after(errors: &[ClientError]) -> ClientError {
        let (retries, attempts) = (AtomicU64::new(0), AtomicU64::new(0));
        let result: Result<(), ClientError> = repeat(&retries, async || {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed) as usize;
            Err(errors[attempt].clone())
        })
        .await;
        assert_eq!(retries.into_inner() + 1, errors.len() as u64);
        result.unwrap_err()
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_no_refusal_whatever_comes_after() {
        let open = ClientError::local(Code::DeadlineExceeded, "no answer");
        // A longer wait than there is time for: it is overloaded until the attempts end.
        let (full, full_to_the_end) = (
            error("OVERLOADED", Duration::ZERO),
            error("OVERLOADED", TOTAL),
        );
        let told = told_after(&[open.clone(), full.clone(), full_to_the_end.clone()]).await;
        assert!(!told.is_refusal() && told.retryable(), "{told}");
        assert_eq!(told.retry_after, Some(TOTAL));
        let both = "DEADLINE_EXCEEDED: no answer; the last attempt: OVERLOADED: ";
        assert_eq!(told.to_string(), both);
        // A proxy that turns the last one away knows nothing of the first.
        let turned_away = ClientError::local(Code::Unauthenticated, "");
        let told = told_after(&[open.clone(), turned_away]).await;
        assert!(!told.is_refusal(), "{told}");
        // The server has looked for the request and says what has become of it.
        let settled = error("INSUFFICIENT_STOCK", Duration::ZERO);
        let told = told_after(&[open, settled]).await;
        assert!(told.is_refusal(), "{told}");
        let told = told_after(&[full, full_to_the_end]).await;
        assert!(told.is_refusal(), "{told}");
    }

    #[tokio::test]
    async fn a_refusal_and_a_wait_that_is_too_long_end_the_attempts() {
        let refusal = error("INSUFFICIENT_STOCK", Duration::ZERO);
        let (attempts, result) = attempts_until(2, refusal).await;
        assert_eq!((attempts, result.is_err()), (1, true));
        let (attempts, result) = attempts_until(2, error("OVERLOADED", TOTAL)).await;
        assert_eq!((attempts, result.is_err()), (1, true));
    }
}
