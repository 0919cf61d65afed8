//! Callers who place orders while something breaks, and the reckoning with them.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use stockroom::client::proto::get_order_request::Key;
use stockroom::client::proto::{
    CreateOrderRequest, GetOrderRequest, GetStockRequest, Order, PutProductsRequest,
};
use stockroom::client::{Client, ClientError};
use tokio::time::timeout;

use crate::api::{order, product, received};
use crate::fixture::{Home, eventually};

const SKUS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// More than all callers of a test take together.
const OPENING_UNITS: i64 = 1_000_000;

/// Half of them call once and half until they are answered.
const CALLERS: usize = 12;

/// More than a server that is not busy has connections.
const FIRST_ORDERS: usize = 10;

/// Orders of a caller, who goes on to the second number while nothing has broken.
const ORDERS_MIN: usize = 10;
const ORDERS_MAX: usize = 100;

/// How many ask at once when all ask again.
const ASKING_AGAIN: usize = 60;

/// Within this a server is to be of use again after everything it needs is.
const RECOVERY: Duration = Duration::from_secs(30);

/// An order and what its caller was told at last.
#[derive(Debug)]
pub(super) struct Placed {
    request: CreateOrderRequest,
    answer: Result<Order, ClientError>,
}

/// Receives the stock that callers order, and makes a few orders, after which
/// every connection in use has the statements of an order prepared.
pub(super) async fn open(client: &Client) -> Vec<Placed> {
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
    let mut placed = Vec::new();
    for i in 0..FIRST_ORDERS {
        placed.push(recovers(client, &format!("first-{i}")).await);
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
    let callers = join_all((0..CALLERS).map(|caller| {
        let (retrying, has_broken) = (client.retrying(), &has_broken);
        let mut chance = SmallRng::from_rng(chance);
        async move {
            let mut placed = Vec::new();
            while placed.len() < ORDERS_MIN || placed.len() < ORDERS_MAX && !has_broken() {
                let request = some_order(&format!("c{caller}-{}", placed.len()), &mut chance);
                let answer = if caller % 2 == 1 {
                    retrying.create_order(&request).await
                } else {
                    client.create_order(request.clone()).await
                };
                let answer = answer.map(|answer| answer.order.unwrap());
                placed.push(Placed { request, answer });
            }
            placed
        }
    }));
    callers.await.into_iter().flatten().collect()
}

fn some_order(request_id: &str, chance: &mut SmallRng) -> CreateOrderRequest {
    let lines = chance.random_range(1..=3);
    let skus: Vec<&str> = SKUS.sample(chance, lines).copied().collect();
    let mut line = |sku| (sku, chance.random_range(1..=3));
    let lines: Vec<_> = skus.into_iter().map(&mut line).collect();
    order(request_id, &lines)
}

/// To be called when all that a server needs is there: it takes an order.
pub(super) async fn recovers(client: &Client, request_id: &str) -> Placed {
    let request = order(request_id, &[(SKUS[0], 1)]);
    let answer = timeout(RECOVERY, client.retrying().create_order(&request)).await;
    let answer = answer.expect("the server does not come back by itself");
    let order = answer.expect("the server is of no use").order;
    Placed {
        request,
        answer: Ok(order.unwrap()),
    }
}

/// Fails unless what callers were told is what happened, and what they were not
/// told is settled by asking again. `placed` is every order of this home.
pub(super) async fn settle(client: &Client, home: &Home, placed: &[Placed]) {
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
        let key = Some(Key::RequestId(placed.request.request_id.clone()));
        let read = client
            .get_order(GetOrderRequest {
                key,
                ..GetOrderRequest::default()
            })
            .await;
        assert!(read.is_err(), "{placed:?} has an effect: {read:?}");
    }
    let again = client.retrying();
    for placed in placed.chunks(ASKING_AGAIN) {
        let answers = join_all(placed.iter().map(|p| again.create_order(&p.request))).await;
        for (placed, answer) in placed.iter().zip(answers) {
            let answer = answer.unwrap_or_else(|e| panic!("{placed:?} is not settled: {e}"));
            if let Ok(order) = &placed.answer {
                assert_eq!(
                    (answer.replayed, answer.order.as_ref()),
                    (true, Some(order))
                );
            }
        }
    }
    assert_eq!(home.books().orders, placed.len() as i64, "orders made");
    for sku in SKUS {
        let lines = placed.iter().flat_map(|placed| &placed.request.lines);
        let sold: i64 = lines.filter(|l| l.sku == sku).map(|l| l.quantity).sum();
        let left = on_hand_at_last(client, sku).await;
        assert_eq!(left, OPENING_UNITS - sold, "units of {sku}");
    }
}

/// A connection that fell silent while it lay idle is found by the read that takes it,
/// which is told to come again.
async fn on_hand_at_last(client: &Client, sku: &str) -> i64 {
    let mut on_hand = None;
    eventually("stock can be read again", async || {
        let request = GetStockRequest {
            sku: sku.to_owned(),
            ..GetStockRequest::default()
        };
        match client.get_stock(request).await {
            Ok(answer) => on_hand = answer.level.map(|level| level.on_hand),
            Err(error) => assert!(error.retryable(), "{error}"),
        }
        on_hand.is_some()
    })
    .await;
    on_hand.expect("it was read")
}
