//! A TCP proxy that breaks things for real.
//!
//! Either the whole line changes ([`Proxy::set`]), or a fault is armed for one
//! request of PostgreSQL's protocol ([`Proxy::arm`]).

mod connection;
mod strike;
mod wire;

pub(crate) use strike::{Action, Place, Strike};

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stockroom::config::Config;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use self::strike::Trigger;
use crate::fixture::{Home, Stockroom};

/// What the proxy does with connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Passes everything on.
    Up,
    /// Passes everything on, each burst of bytes later by so much.
    Delayed {
        to_server: Duration,
        to_client: Duration,
    },
    /// Has closed every connection, and closes new ones at once.
    Down,
    /// Swallows what is sent and says nothing: a cable that was pulled. What was
    /// connected meanwhile stays silent for ever.
    Silent,
}

impl Line {
    /// A round trip that takes this much longer, half of it each way.
    pub(crate) fn delayed(round_trip: Duration) -> Self {
        Self::Delayed {
            to_server: round_trip / 2,
            to_client: round_trip / 2,
        }
    }
}

/// The line as it is and how often it was not.
#[derive(Debug, Clone, Copy)]
struct Network {
    line: Line,
    /// How often every connection was closed.
    cuts: u64,
    /// How often every connection lost bytes.
    silences: u64,
}

impl Network {
    fn set(&mut self, line: Line) {
        self.line = line;
        match line {
            Line::Up | Line::Delayed { .. } => {}
            Line::Down => self.cuts += 1,
            Line::Silent => self.silences += 1,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    network: watch::Sender<Network>,
    trigger: Trigger,
}

/// A proxy before one address; it ends when dropped.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            network: watch::Sender::new(Network {
                line: Line::Up,
                cuts: 0,
                silences: 0,
            }),
            trigger: Trigger::default(),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(connection::serve(stream, Arc::clone(&shared)));
                }
            }
        });
        Self {
            addr,
            shared,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(crate) async fn before_database_of(home: &Home) -> Self {
        Self::before(address_of(home)).await
    }

    /// The URL of a home's database through this proxy.
    pub(crate) fn url(&self, home: &Home) -> String {
        home.url()
            .replace(&address_of(home).to_string(), &self.addr.to_string())
    }

    pub(crate) fn set(&self, line: Line) {
        self.shared.network.send_modify(|network| network.set(line));
    }

    /// Leads new connections to another address.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Closes every connection and takes new ones.
    pub(crate) fn cut(&self) {
        self.set(Line::Down);
        self.set(Line::Up);
    }

    /// Arms a fault for the request that `requests_before` others precede from
    /// now on, whatever connection they come on, in place of an earlier one.
    pub(crate) fn arm(&self, requests_before: usize, place: Place, action: Action) -> Strike {
        self.shared.trigger.arm(requests_before, place, action)
    }
}

/// Where a home's PostgreSQL listens.
fn address_of(home: &Home) -> SocketAddr {
    let url = home.url();
    let (_, place) = url.split_once('@').expect("it has a user");
    place.split('/').next().unwrap().parse().unwrap()
}

/// A server that reaches its database through a proxy, and is not patient.
pub(crate) async fn behind_proxy(
    home: Arc<Home>,
    configure: impl FnOnce(&mut Config),
) -> (Stockroom, Proxy) {
    let proxy = Proxy::before_database_of(&home).await;
    let url = proxy.url(&home);
    let server = Stockroom::on(home, |config| {
        config.store.url = url;
        config.store.acquire_timeout_ms = 500;
        config.store.statement_timeout_ms = 1_000;
        configure(config);
    })
    .await;
    (server, proxy)
}
