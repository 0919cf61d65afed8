//! Changing orders that are there: which lines they have is read first, since a batch is
//! made of levels. The lines of an order never change, so a read of them is never old; the
//! order's state is guarded by its version.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::reclaim::portions;
use super::{Command, Done, Engine};
use crate::domain::{Order, OrderChange, OrderId, RequestId, Trace, Transition};
use crate::error::{Error, chain};
use crate::gather::Gather;
use crate::storage::{ExpiredHold, StorageError, Store};
use crate::telemetry;

/// Orders that are read together, in one statement.
const ORDERS_AT_ONCE_MAX: usize = 256;

/// What ends holds that are over takes one part in so many of the queue.
const QUEUE_SHARE: usize = 8;

/// What whoever asked for an order is told.
type Answer = Result<Option<Arc<Order>>, Error>;

/// Orders that callers wait for.
pub(super) type Questions = Gather<OrderId, Answer>;

impl Engine {
    /// Changes the order `order_id`.
    ///
    /// # Errors
    /// [`Error::OrderNotFound`], and those of [`Engine::submit`].
    pub async fn change_order(
        &self,
        order_id: OrderId,
        request_id: RequestId,
        transition: Transition,
        trace: Option<Trace>,
    ) -> Result<Done, Error> {
        let order = match self.context.memory.order(order_id) {
            Some(order) => order,
            None => self.find_order(order_id).await?,
        };
        let change = OrderChange {
            order,
            request_id: Some(request_id),
            transition,
        };
        self.submit(Command::ChangeOrder(change), trace).await
    }

    /// Ends holds, those that are as they were when they were found to be over: how many. An
    /// eighth of the queue at a time, so that callers find room in it.
    pub async fn expire(&self, over: Vec<ExpiredHold>) -> usize {
        let config = &self.context.config;
        let (orders_max, lines_max) = (
            config.queue_orders_max / QUEUE_SHARE,
            config.queue_lines_max / QUEUE_SHARE,
        );
        let mut ended = 0;
        for portion in portions(over, orders_max, lines_max, |hold| hold.order.lines.len()) {
            let ends = portion
                .into_iter()
                .map(|hold| self.submit(hold.into(), None));
            let ends = join_all(ends).await;
            ended += ends.iter().filter(|end| end.is_ok()).count();
        }
        ended
    }

    pub(super) async fn find_order(&self, id: OrderId) -> Result<Arc<Order>, Error> {
        match self.orders.ask(id).await {
            Some(Ok(Some(order))) => Ok(order),
            Some(Ok(None)) => Err(Error::OrderNotFound(id.to_string())),
            Some(Err(error)) => Err(error),
            None => Err(Error::Overloaded(
                "too many wait for their orders to be read",
            )),
        }
    }
}

/// Reads whatever was asked for while the last orders were read.
pub(super) async fn read_forever(store: Store, questions: Arc<Questions>) {
    loop {
        let (ids, replies) = questions.next(ORDERS_AT_ONCE_MAX, |_| 1).await;
        let answers = read(&store, &ids).await;
        for (answer, reply) in answers.into_iter().zip(replies) {
            // One that hung up needs no answer.
            let _ = reply.send(answer);
        }
    }
}

/// An answer for each of `ids`.
async fn read(store: &Store, ids: &[OrderId]) -> Vec<Answer> {
    match store.read_orders(ids).await {
        Ok(orders) => {
            let by_id: HashMap<OrderId, _> = orders.into_iter().collect();
            let answer = |id| match by_id.get(id) {
                Some(Ok(order)) => Ok(Some(Arc::clone(order))),
                // Logged by the caller, whose span knows the request.
                Some(Err(error)) => Err(Error::Internal(StorageError::corrupt(chain(error)))),
                None => Ok(None),
            };
            ids.iter().map(answer).collect()
        }
        Err(error) => {
            match &error {
                StorageError::Unavailable(_) | StorageError::CommitUnknown(_) => {
                    telemetry::store_unavailable("a read of orders", &error);
                }
                _ => tracing::error!(error = chain(&error), "cannot read orders"),
            }
            let unavailable = || Err(Error::StoreUnavailable(None));
            ids.iter().map(|_| unavailable()).collect()
        }
    }
}
