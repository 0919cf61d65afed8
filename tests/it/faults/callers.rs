//! Callers who place orders while something breaks. A third of the orders are on hold, and
//! confirmed, cancelled, or left until their hold is over.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use stockroom::client::proto::{CreateOrderRequest, Order, OrderState, PutProductsRequest};
use stockroom::client::{Client, ClientError, Retrying};
use tokio::time::timeout;

use crate::api::{cancel, confirm, hold_of, order, product, received};

pub(super) const SKUS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// More than all callers of a test take together.
pub(super) const OPENING_UNITS: i64 = 1_000_000;

/// Half of them call once and half until they are answered.
const CALLERS: usize = 12;

/// More than a server that is not busy has connections.
const FIRST_ORDERS: usize = 10;

/// Orders of a caller, who goes on to the second number while nothing has broken.
const ORDERS_MIN: usize = 10;
const ORDERS_MAX: usize = 100;

/// Within this a server is to be of use again after everything it needs is.
const RECOVERY: Duration = Duration::from_secs(30);

/// Holds that somebody ends outlive every test; the others are as short as they may be.
const HOLD_SECONDS: i64 = 3_600;
const HOLD_SECONDS_MIN: i64 = 1;

/// What an order on hold is meant to become.
const ENDS: [OrderState; 3] = [
    OrderState::Confirmed,
    OrderState::Cancelled,
    OrderState::Expired,
];

/// An order and what its caller was told at last.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(super) request: CreateOrderRequest,
    pub(super) answer: Result<Order, ClientError>,
    /// One of [`ENDS`] if it is on hold.
    pub(super) end: Option<OrderState>,
    /// What its caller was told when it asked for that.
    pub(super) ended: Option<Result<Order, ClientError>>,
}

impl Placed {
    /// Whether its caller was told what became of all that it asked for.
    pub(crate) fn is_answered(&self) -> bool {
        let mut asked = [Some(&self.answer), self.ended.as_ref()].into_iter();
        !asked.any(|answer| answer.is_some_and(is_unheard))
    }
}

/// Whether it does not say what happened.
pub(super) fn is_unheard(answer: &Result<Order, ClientError>) -> bool {
    answer.as_ref().is_err_and(|error| !error.is_refusal())
}

/// Whether an earlier call made it, and the order.
pub(super) type Answer = Result<(bool, Order), ClientError>;

/// Somebody who places orders.
pub(crate) enum Caller {
    /// Asks once.
    Hasty(Client),
    /// Asks until it is answered.
    Patient(Retrying),
}

/// A call as its caller makes it.
macro_rules! call {
    ($caller:expr, $name:ident, $request:expr) => {
        match $caller {
            Caller::Hasty(client) => {
                let answer = client.$name($request.clone()).await;
                answer.map(|it| (it.replayed, it.order.unwrap()))
            }
            Caller::Patient(client) => {
                let answer = client.$name($request).await;
                answer.map(|it| (it.replayed, it.order.unwrap()))
            }
        }
    };
}

impl Caller {
    /// Places some order, and ends it if it is on hold.
    pub(crate) async fn place(&self, request_id: &str, chance: &mut SmallRng) -> Placed {
        let (request, end) = some_order(request_id, chance);
        let answer = self.create(&request).await.map(|(_, order)| order);
        let ended = match (&answer, end) {
            (Ok(order), Some(end)) => self.end(order, end).await,
            _ => None,
        };
        Placed {
            request,
            answer,
            end,
            ended: ended.map(|answer| answer.map(|(_, order)| order)),
        }
    }

    pub(super) async fn create(&self, request: &CreateOrderRequest) -> Answer {
        call!(self, create_order, request)
    }

    /// Lets `end` become of an order on hold; none where that is left to itself.
    pub(super) async fn end(&self, order: &Order, end: OrderState) -> Option<Answer> {
        let request_id = format!("end-of-{}", order.request_id);
        Some(match end {
            OrderState::Confirmed => {
                call!(self, confirm_order, &confirm(&request_id, &order.order_id))
            }
            OrderState::Cancelled => {
                call!(self, cancel_order, &cancel(&request_id, &order.order_id))
            }
            _ => return None,
        })
    }
}

/// Receives the stock that callers order, and makes a few orders, after which
/// every connection in use has the statements of an order prepared.
pub(crate) async fn open(client: &Client) -> Vec<Placed> {
    // A server with so little patience may find a busy machine's database gone.
    let retrying = client.retrying();
    let products = SKUS.map(|sku| product(sku, 0)).into();
    let products = PutProductsRequest {
        products,
        ..Default::default()
    };
    retrying.put_products(&products).await.unwrap();
    for sku in SKUS {
        let opening = received(&format!("opening-{sku}"), sku, OPENING_UNITS);
        retrying.adjust_stock(&opening).await.unwrap();
    }
    let patient = Caller::Patient(retrying);
    let mut placed = Vec::new();
    for i in 0..FIRST_ORDERS {
        // The first reads the database's clock, which is then remembered.
        let end = ENDS.get(i).copied();
        placed.push(made(&patient, &format!("first-{i}"), end).await);
    }
    placed
}

/// Places orders of one to three lines until each caller has placed some and
/// something has broken.
pub(super) async fn place_orders(
    client: &Client,
    chance: &mut SmallRng,
    has_broken: impl Fn() -> bool,
) -> Vec<Placed> {
    let callers = join_all((0..CALLERS).map(|i| {
        let (caller, has_broken) = (
            match i % 2 {
                0 => Caller::Hasty(client.clone()),
                _ => Caller::Patient(client.retrying()),
            },
            &has_broken,
        );
        let mut chance = SmallRng::from_rng(chance);
        async move {
            let mut placed = Vec::new();
            while placed.len() < ORDERS_MIN || placed.len() < ORDERS_MAX && !has_broken() {
                let request_id = format!("c{i}-{}", placed.len());
                placed.push(caller.place(&request_id, &mut chance).await);
            }
            placed
        }
    }));
    callers.await.into_iter().flatten().collect()
}

fn some_order(request_id: &str, chance: &mut SmallRng) -> (CreateOrderRequest, Option<OrderState>) {
    let lines = chance.random_range(1..=3);
    let skus: Vec<&str> = SKUS.sample(chance, lines).copied().collect();
    let mut line = |sku| (sku, chance.random_range(1..=3));
    let lines: Vec<_> = skus.into_iter().map(&mut line).collect();
    let is_on_hold = chance.random_ratio(1, 3);
    let end = is_on_hold.then(|| *ENDS.choose(chance).expect("there are some"));
    (ends_as(order(request_id, &lines), end), end)
}

/// An order on hold for as long as `end` takes, if it is to have one.
fn ends_as(order: CreateOrderRequest, end: Option<OrderState>) -> CreateOrderRequest {
    let hold = end.map(|end| match end {
        OrderState::Expired => hold_of(HOLD_SECONDS_MIN),
        _ => hold_of(HOLD_SECONDS),
    });
    CreateOrderRequest { hold, ..order }
}

/// To be called when all that a server needs is there: it takes an order.
pub(super) async fn recovers(client: &Client, request_id: &str) -> Placed {
    let patient = Caller::Patient(client.retrying());
    let placed = timeout(RECOVERY, made(&patient, request_id, None)).await;
    placed.expect("the server does not come back by itself")
}

/// An order that must be made.
async fn made(patient: &Caller, request_id: &str, end: Option<OrderState>) -> Placed {
    let request = ends_as(order(request_id, &[(SKUS[0], 1)]), end);
    let (_, order) = patient.create(&request).await.expect("it is of use");
    let ended = match end {
        Some(end) => patient.end(&order, end).await,
        None => None,
    };
    Placed {
        request,
        answer: Ok(order),
        end,
        ended: ended.map(|answer| answer.map(|(_, order)| order)),
    }
}
