//! Calls that are repeated for as long as that can help.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_retry::strategy::{ExponentialBackoff, jitter};
use tonic::Code;
use uuid::Uuid;

use super::proto::{
    AdjustStockRequest, AdjustStockResponse, BatchAdjustStockRequest, BatchAdjustStockResponse,
    BatchGetStockRequest, BatchGetStockResponse, CancelOrderRequest, CancelOrderResponse,
    ConfirmOrderRequest, ConfirmOrderResponse, CountStockRequest, CountStockResponse,
    CreateOrderRequest, CreateOrderResponse, DeleteProductRequest, DeleteProductResponse,
    ExtendHoldRequest, ExtendHoldResponse, GetProductRequest, GetProductResponse,
    ListMovementsRequest, ListMovementsResponse, ListProductsRequest, ListProductsResponse,
    ListStockRequest, ListStockResponse, PutProductsRequest, PutProductsResponse,
    TransferStockRequest, TransferStockResponse,
};
use super::{Client, ClientError};

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
/// with full jitter, so that callers refused together do not return together.
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
}

/// Writes with a `request_id`.
macro_rules! writes {
    ($($name:ident($request:ty) -> $response:ty, $names_it:literal;)*) => {
        impl Retrying {$(
            #[doc = concat!(
                "[`Client::", stringify!($name), "`], repeated. Without a `request_id` it gets one, ",
                "the same for each attempt; ", $names_it, " that comes back names it."
            )]
            ///
            /// # Errors
            /// It cannot be done, or the last of the attempts failed.
            /// [`ClientError::request_id`] is what it was sent with.
            pub async fn $name(&self, request: &$request) -> Result<$response, ClientError> {
                let mut request = request.clone();
                if request.request_id.is_empty() {
                    request.request_id = new_request_id();
                }
                repeat(&self.retries, || self.client.$name(request.clone()))
                    .await
                    .map_err(|error| error.of_request(&request.request_id))
            }
        )*}
    };
}

writes! {
    create_order(CreateOrderRequest) -> CreateOrderResponse, "the order";
    confirm_order(ConfirmOrderRequest) -> ConfirmOrderResponse, "an error";
    cancel_order(CancelOrderRequest) -> CancelOrderResponse, "an error";
    extend_hold(ExtendHoldRequest) -> ExtendHoldResponse, "an error";
    adjust_stock(AdjustStockRequest) -> AdjustStockResponse, "the movement";
    batch_adjust_stock(BatchAdjustStockRequest) -> BatchAdjustStockResponse, "each movement";
    count_stock(CountStockRequest) -> CountStockResponse, "the movement";
    transfer_stock(TransferStockRequest) -> TransferStockResponse, "each movement";
}

/// Calls that need no key: they read, or twice is as good as once.
macro_rules! repeated {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        impl Retrying {$(
            #[doc = concat!("[`Client::", stringify!($name), "`], repeated.")]
            ///
            /// # Errors
            /// Those of the call, or the last of the attempts failed.
            pub async fn $name(&self, request: &$request) -> Result<$response, ClientError> {
                repeat(&self.retries, || self.client.$name(request.clone())).await
            }
        )*}
    };
}

repeated! {
    put_products(PutProductsRequest) -> PutProductsResponse;
    get_product(GetProductRequest) -> GetProductResponse;
    list_products(ListProductsRequest) -> ListProductsResponse;
    batch_get_stock(BatchGetStockRequest) -> BatchGetStockResponse;
    list_stock(ListStockRequest) -> ListStockResponse;
    list_movements(ListMovementsRequest) -> ListMovementsResponse;
}

impl Retrying {
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
        repeat(&self.retries, async || {
            let before = unsettled.swap(true, Ordering::Relaxed);
            let answer = self.client.delete_product(request.clone()).await;
            match answer {
                Err(error)
                    if before && !request.validate_only && error.reason == "SKU_NOT_FOUND" =>
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
}

/// A key for a request whose caller has none: begins with the time, so that
/// neighbours share pages of the server's index.
fn new_request_id() -> String {
    Uuid::now_v7().to_string()
}

/// Attempts until one succeeds, fails for good, or the bounds are met. Counts
/// the attempts after the first in `retries`.
async fn repeat<T, Attempt>(
    retries: &AtomicU64,
    attempt: impl Fn() -> Attempt,
) -> Result<T, ClientError>
where
    Attempt: Future<Output = Result<T, ClientError>>,
{
    let deadline = Instant::now() + TOTAL;
    let mut waits = backoff(BACKOFF_MAX).take(ATTEMPTS_MAX - 1);
    loop {
        let error = match timeout(ATTEMPT_TIMEOUT, attempt()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => error,
            Err(_) => {
                let silence = format!("no answer within {ATTEMPT_TIMEOUT:?}");
                ClientError::local(Code::DeadlineExceeded, silence)
            }
        };
        if !error.retryable() {
            return Err(error);
        }
        let Some(wait) = waits.next() else {
            return Err(error);
        };
        let wait = error.retry_after.unwrap_or_default() + jitter(wait);
        if Instant::now() + wait > deadline {
            return Err(error);
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

    #[tokio::test]
    async fn a_refusal_and_a_wait_that_is_too_long_end_the_attempts() {
        let refusal = error("INSUFFICIENT_STOCK", Duration::ZERO);
        let (attempts, result) = attempts_until(2, refusal).await;
        assert_eq!((attempts, result.is_err()), (1, true));
        let (attempts, result) = attempts_until(2, error("OVERLOADED", TOTAL)).await;
        assert_eq!((attempts, result.is_err()), (1, true));
    }
}
