//! OrderService.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};
use tracing::error_span;

use super::order_changes::{self, Asked};
use super::status::about;
use super::{Gate, convert, get_order, order_list, turn_down};
use crate::domain::Trace;
use crate::engine::{Command, Done, Engine};
use crate::error::Error;
use crate::proto;
use crate::proto::order_service_server::OrderService;
use crate::reads::Reads;
use crate::storage::Store;
use crate::telemetry::Counters;

/// Orders over gRPC.
pub(crate) struct Orders {
    pub(crate) engine: Engine,
    pub(crate) reads: Reads,
    pub(crate) store: Store,
    pub(crate) gate: Arc<Gate>,
    /// The longest hold.
    pub(crate) hold_max: Duration,
    pub(crate) counters: Arc<Counters>,
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn create_order(
        &self,
        request: Request<proto::CreateOrderRequest>,
    ) -> Result<Response<proto::CreateOrderResponse>, Status> {
        if request.get_ref().validate_only {
            let request_id = request.get_ref().request_id.clone();
            // On the heap: it would make the future of every order as large.
            let answer = Box::pin(self.validate(request.into_inner())).await;
            return Ok(Response::new(
                answer.map_err(about("validate_order", request_id))?,
            ));
        }
        let outcomes = &self.counters.orders;
        let refuse = turn_down(outcomes);
        self.gate.pass().map_err(refuse)?;
        let trace = convert::trace(request.metadata());
        let new = convert::new_order(request.into_inner(), self.hold_max).map_err(refuse)?;
        let (request_id, order_id) = (new.request_id.clone(), new.order_id);
        // The one place that logs is the failure: a span for each order cost 2 % of all orders.
        let fail =
            |error| error_span!("create_order", %request_id, %order_id).in_scope(|| refuse(error));
        if let Some(refusal) = self.reads.refuse(&new).await {
            return Err(fail(refusal));
        }
        match self.engine.submit(Command::CreateOrder(new), trace).await {
            Ok(Done::Order { order, replayed }) => {
                if replayed {
                    outcomes.replayed.add(1);
                }
                let order = Some(proto::Order::from(&*order));
                Ok(Response::new(proto::CreateOrderResponse {
                    order,
                    replayed,
                }))
            }
            Ok(_) => unreachable!("plan answers each command in its kind"),
            Err(error) => {
                self.reads.refused(&error);
                Err(fail(error))
            }
        }
    }

    async fn confirm_order(
        &self,
        request: Request<proto::ConfirmOrderRequest>,
    ) -> Result<Response<proto::ConfirmOrderResponse>, Status> {
        let trace = convert::trace(request.metadata());
        let validate_only = request.get_ref().validate_only;
        let asked = order_changes::confirm(&request.into_inner());
        let (order, replayed) = self.change(asked, trace, validate_only).await?;
        let order = Some(order);
        Ok(Response::new(proto::ConfirmOrderResponse {
            order,
            replayed,
        }))
    }

    async fn cancel_order(
        &self,
        request: Request<proto::CancelOrderRequest>,
    ) -> Result<Response<proto::CancelOrderResponse>, Status> {
        let trace = convert::trace(request.metadata());
        let validate_only = request.get_ref().validate_only;
        let asked = order_changes::cancel(request.into_inner());
        let (order, replayed) = self.change(asked, trace, validate_only).await?;
        let order = Some(order);
        Ok(Response::new(proto::CancelOrderResponse {
            order,
            replayed,
        }))
    }

    async fn extend_hold(
        &self,
        request: Request<proto::ExtendHoldRequest>,
    ) -> Result<Response<proto::ExtendHoldResponse>, Status> {
        let trace = convert::trace(request.metadata());
        let validate_only = request.get_ref().validate_only;
        let asked = order_changes::extend(&request.into_inner(), self.hold_max);
        let (order, replayed) = self.change(asked, trace, validate_only).await?;
        let order = Some(order);
        Ok(Response::new(proto::ExtendHoldResponse { order, replayed }))
    }

    async fn get_order(
        &self,
        request: Request<proto::GetOrderRequest>,
    ) -> Result<Response<proto::GetOrderResponse>, Status> {
        self.gate.pass()?;
        let answer = get_order::get(&self.store, request.get_ref()).await;
        let answer = answer.map_err(about("get_order", request.get_ref()))?;
        Ok(Response::new(answer))
    }

    async fn list_orders(
        &self,
        request: Request<proto::ListOrdersRequest>,
    ) -> Result<Response<proto::ListOrdersResponse>, Status> {
        self.gate.pass()?;
        let request = request.into_inner();
        // Neither customers nor labels, which are not ours to log.
        let asked = (request.state, request.page_size);
        let answer = order_list::list(&self.store, request).await;
        let answer = answer.map_err(about("list_orders", asked))?;
        Ok(Response::new(answer))
    }
}

impl Orders {
    /// What CreateOrder would answer.
    async fn validate(
        &self,
        request: proto::CreateOrderRequest,
    ) -> Result<proto::CreateOrderResponse, Error> {
        self.gate.pass()?;
        let new = convert::new_order(request, self.hold_max)?;
        let done = Box::pin(self.engine.validate(Command::CreateOrder(new))).await?;
        let Done::Order { order, replayed } = done else {
            unreachable!("plan answers each command in its kind")
        };
        let mut order = proto::Order::from(&*order);
        if !replayed {
            // Nobody will ever find it.
            order.order_id.clear();
        }
        let order = Some(order);
        Ok(proto::CreateOrderResponse { order, replayed })
    }

    /// Changes an order as it was asked for; the order then, and whether an earlier call
    /// has changed it.
    async fn change(
        &self,
        asked: Result<Asked, Error>,
        trace: Option<Trace>,
        validate_only: bool,
    ) -> Result<(proto::Order, bool), Status> {
        if validate_only {
            self.gate.pass()?;
            let (order_id, request_id, transition) = asked?;
            let asked = (request_id.clone(), order_id);
            let done = self
                .engine
                .validate_change(order_id, request_id, transition);
            let done = Box::pin(done).await;
            return Ok(changed_order(
                done.map_err(about("validate_change", asked))?,
            ));
        }
        let outcomes = &self.counters.order_changes;
        let refuse = turn_down(outcomes);
        self.gate.pass().map_err(refuse)?;
        let (order_id, request_id, transition) = asked.map_err(refuse)?;
        let span = request_id.clone();
        let fail = |error| {
            error_span!("change_order", request_id = %span, %order_id).in_scope(|| refuse(error))
        };
        let done = self
            .engine
            .change_order(order_id, request_id, transition, trace);
        let (order, replayed) = changed_order(done.await.map_err(fail)?);
        let counted = if replayed {
            &outcomes.replayed
        } else {
            &outcomes.accepted
        };
        counted.add(1);
        Ok((order, replayed))
    }
}

/// The order that a change left, and whether an earlier call had changed it.
fn changed_order(done: Done) -> (proto::Order, bool) {
    match done {
        Done::Order { order, replayed } => (proto::Order::from(&*order), replayed),
        Done::Adjusted { .. } => unreachable!("plan answers each command in its kind"),
    }
}
