//! The floor: a stream of the same messages with nothing behind it.
//!
//! A level that changes so many times a second lies in a `tokio::sync::watch`; each stream
//! waits for the next value, clones it and lets tonic encode it, as anybody would write it.
//! The bytes and their layout are the real server's: Started, one level, Synced, then one
//! level a message.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use stockroom::client::proto::stock_selector::Selector;
use stockroom::client::proto::watch_stock_response::Event;
use stockroom::client::proto::{
    StockLevel, WatchChanges, WatchStarted, WatchStockRequest, WatchStockResponse, WatchSynced,
};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::support::clock::Clock;
use crate::support::floor;

/// The path of the method.
const WATCH_STOCK: &str = "/stockroom.v1.InventoryService/WatchStock";

/// What `stockroom load` has received of each product, so that numbers take as many
/// bytes as the real ones.
const ON_HAND: i64 = 1_000_000_000;

/// An id as long as every other.
const STORE_ID: &str = "0193b0c4-7e4d-7000-8000-000000000000";

/// Serves until the process is ended, a new value `newer_per_s` times a second; 0 is
/// never.
///
/// # Errors
/// The listener fails.
pub(crate) fn serve(newer_per_s: u32) -> anyhow::Result<()> {
    floor::serve(|| {
        let clock = Clock::start();
        let (newest, _) = watch::channel(value(1, clock.us(Duration::ZERO)));
        if newer_per_s > 0 {
            // Ends with the process.
            tokio::spawn(change(newest.clone(), clock, newer_per_s));
        }
        Routes::new(Bare { newest, clock })
    })
}

async fn change(newest: watch::Sender<StockLevel>, clock: Clock, per_s: u32) {
    let mut ticks = interval(Duration::from_secs(1) / per_s);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for version in 2.. {
        ticks.tick().await;
        newest.send_replace(value(version, clock.us(clock.elapsed())));
    }
}

fn value(version: i64, made_us: i64) -> StockLevel {
    let on_hand = ON_HAND - version;
    StockLevel {
        sku: String::new(),
        location: "main".to_owned(),
        on_hand,
        reserved: 0,
        available: on_hand,
        version,
        low_stock: false,
        backorder_limit: 0,
        update_time: Some(timestamp(made_us)),
    }
}

fn timestamp(us: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: us / 1_000_000,
        nanos: (us % 1_000_000) as i32 * 1_000,
    }
}

#[derive(Clone)]
struct Bare {
    newest: watch::Sender<StockLevel>,
    clock: Clock,
}

/// One stream.
struct Watching {
    sku: String,
    newest: watch::Receiver<StockLevel>,
    clock: Clock,
    /// Messages sent so far, of those that come before the changes.
    begun: u8,
}

impl Watching {
    async fn next(&mut self) -> Event {
        self.begun = self.begun.saturating_add(1);
        let server_time = || Some(timestamp(self.clock.us(self.clock.elapsed())));
        match self.begun {
            1 => Event::Started(WatchStarted {
                store_id: STORE_ID.to_owned(),
                heartbeat_interval: Some(prost_types::Duration {
                    seconds: 15,
                    nanos: 0,
                }),
                server_time: server_time(),
            }),
            2 => self.changes(),
            3 => Event::Synced(WatchSynced {
                server_time: server_time(),
            }),
            _ => {
                if self.newest.changed().await.is_err() {
                    // The sender lives as long as the server.
                    std::future::pending::<()>().await;
                }
                self.changes()
            }
        }
    }

    fn changes(&mut self) -> Event {
        let level = StockLevel {
            sku: self.sku.clone(),
            ..self.newest.borrow_and_update().clone()
        };
        Event::Changes(WatchChanges {
            levels: vec![level],
            reset: false,
        })
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<WatchStockResponse, Status>> + Send>>;

impl Bare {
    /// What the generated trait would ask for.
    async fn watch_stock(self, request: WatchStockRequest) -> Result<Response<Answers>, Status> {
        let selector = request.selectors.into_iter().next();
        let Some(Selector::Level(level)) = selector.and_then(|selector| selector.selector) else {
            return Err(nothing_behind());
        };
        let watching = Watching {
            sku: level.sku,
            newest: self.newest.subscribe(),
            clock: self.clock,
            begun: 0,
        };
        let answers = stream::unfold(watching, |mut watching| async {
            let event = Some(watching.next().await);
            Some((Ok(WatchStockResponse { event }), watching))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl ServerStreamingService<WatchStockRequest> for Bare {
    type Response = WatchStockResponse;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<WatchStockRequest>) -> Self::Future {
        Box::pin(self.clone().watch_stock(request.into_inner()))
    }
}

impl NamedService for Bare {
    const NAME: &'static str = "stockroom.v1.InventoryService";
}

/// As generated code does it; the real server answers this method by hand, so there is
/// no generated code of it.
impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            if request.uri().path() != WATCH_STOCK {
                return Ok(nothing_behind().into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(bare, request).await)
        })
    }
}

fn nothing_behind() -> Status {
    Status::unimplemented("the floor streams one level and does nothing else")
}
