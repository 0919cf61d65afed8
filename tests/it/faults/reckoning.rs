//! The reckoning with callers when everything is whole again: what they were told is what
//! happened, and what they were not told is settled by asking again.

use futures_util::future::join_all;
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{GetOrderRequest, GetStockRequest, OrderState, StockLevel};
use stockroom::client::{Client, ClientError};

use super::callers::{Caller, OPENING_UNITS, Placed, SKUS, is_unheard};
use crate::fixture::{Home, eventually};

/// How many ask at once when all ask again.
const ASKING_AGAIN: usize = 60;

/// Fails unless all of that is so. `placed` is every order of this home.
pub(crate) async fn settle(client: &Client, home: &Home, placed: &[Placed]) {
    home.check_no_idle_transaction();
    home.check_books();
    let acknowledged = placed.iter().filter(|placed| placed.answer.is_ok()).count();
    let made = home.books().orders;
    assert!(
        (acknowledged as i64..=placed.len() as i64).contains(&made),
        "{made} orders of {acknowledged} acknowledged and {} placed",
        placed.len()
    );
    let refused = |placed: &&Placed| placed.answer.as_ref().is_err_and(ClientError::is_refusal);
    for placed in placed.iter().filter(refused) {
        assert!(is_not_there(client, placed).await, "{placed:?} is there");
    }
    let again = Caller::Patient(client.retrying());
    for placed in placed.chunks(ASKING_AGAIN) {
        join_all(placed.iter().map(|placed| placed.is_settled_by(&again))).await;
    }
    assert_eq!(home.books().orders, placed.len() as i64, "orders made");
    for sku in SKUS {
        let taken = |placed: &&Placed| matches!(placed.end, None | Some(OrderState::Confirmed));
        let lines = placed.iter().filter(taken).flat_map(|it| &it.request.lines);
        let sold: i64 = lines.filter(|l| l.sku == sku).map(|l| l.quantity).sum();
        let left = level_at_last(client, sku).await.on_hand;
        assert_eq!(left, OPENING_UNITS - sold, "units of {sku}");
    }
}

impl Placed {
    /// Asks for it again, and for its end.
    async fn is_settled_by(&self, again: &Caller) {
        let answer = again.create(&self.request).await;
        let (replayed, order) = answer.unwrap_or_else(|e| panic!("{self:?} is not settled: {e}"));
        if let Ok(made) = &self.answer {
            assert!(replayed, "{self:?} was made twice");
            assert_eq!(order.order_id, made.order_id, "{self:?}");
        }
        let Some(end) = self.end else {
            let differs = self.answer.as_ref().is_ok_and(|made| *made != order);
            return assert!(!differs, "{self:?} is {order:?}");
        };
        if let Some(Ok(told)) = &self.ended {
            assert_eq!(&order, told);
        } else {
            // What nobody asked for has not happened, but that time has passed.
            let may_have_ended =
                end == OrderState::Expired || self.ended.as_ref().is_some_and(is_unheard);
            let states = [Some(OrderState::Pending), may_have_ended.then_some(end)];
            assert!(
                states.contains(&Some(order.state())),
                "{self:?} is {order:?}"
            );
        }
        let Some(answer) = again.end(&order, end).await else {
            return;
        };
        let (replayed, ended) = answer.unwrap_or_else(|e| panic!("{self:?} has no end: {e}"));
        assert_eq!(ended.state(), end, "{self:?}");
        if let Some(Ok(told)) = &self.ended {
            assert_eq!((replayed, &ended), (true, told));
        }
    }
}

/// Whether nothing came of an order.
async fn is_not_there(client: &Client, placed: &Placed) -> bool {
    let request = GetOrderRequest {
        key: Some(Key::RequestId(placed.request.request_id.clone())),
        ..GetOrderRequest::default()
    };
    let read = read(async || client.get_order(request.clone()).await).await;
    read.is_err_and(|error| error.reason == "ORDER_NOT_FOUND")
}

/// A level when no hold that is over reserves any of it.
async fn level_at_last(client: &Client, sku: &str) -> StockLevel {
    let request = GetStockRequest {
        sku: sku.to_owned(),
        ..GetStockRequest::default()
    };
    let mut level = None;
    eventually("holds that are over have ended", async || {
        let answer = read(async || client.get_stock(request.clone()).await).await;
        level = answer.unwrap().level;
        level.as_ref().is_some_and(|level| level.reserved == 0)
    })
    .await;
    level.expect("it was read")
}

/// A definite answer. A connection that fell silent while it lay idle is found by the read
/// that takes it, which is told to come again.
async fn read<T>(call: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut answer = None;
    eventually("it can be read again", async || {
        let read = call().await;
        let is_definite = read.as_ref().err().is_none_or(|error| !error.retryable());
        answer = Some(read);
        is_definite
    })
    .await;
    answer.expect("it was read")
}
