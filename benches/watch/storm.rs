//! 10,000 streams, each on a level of its own, come back after a restart.
//!
//! The server ends, by its own Goodbye or killed, and another one starts where it was.
//! What counts is the time from the moment when that one listens, before it has opened
//! its database, until every stream is synced again. Each resumes with the version that
//! it saw. Afterwards there are orders, which must reach all of those that came back.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::{Bench, Measured, SYNCED_LIMIT};
use crate::reader::{Keep, Work};
use crate::subjects::{CONNECTIONS, STREAMS};
use crate::support::clock::Clock;
use crate::support::load::Orders;
use crate::support::stock::PRODUCTS;
use crate::support::stores::Totals;
use crate::support::trial::Trial;

/// Outside the range from which Linux takes ports of outgoing connections: among
/// thousands that look for a server that is gone, one might get its port and meet itself.
const PORTS: Range<u16> = 20_000..32_000;

/// Orders afterwards.
const RATE: u32 = 1_000;
const IN_FLIGHT: usize = 1_024;
const ORDER_CONNECTIONS: usize = 4;
const ORDERS: Duration = Duration::from_secs(1);

/// How the server ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// By SIGTERM, with Goodbye.
    Asked,
    /// By SIGKILL.
    Killed,
}

impl Bench {
    /// Measures it.
    pub(crate) fn storm(&mut self, end: End) -> anyhow::Result<Measured> {
        let clock = Clock::start();
        let (database, opening_units) = self.copy()?;
        let listen = (
            "STOCKROOM_SERVER_LISTEN",
            format!("127.0.0.1:{}", free_port()?),
        );
        let settings = [listen];
        let server = self.serve(&database, &settings)?;
        let work = Work::Watch {
            streams: STREAMS,
            levels: PRODUCTS,
            keep: Keep::AllValues,
        };
        let reader = self.reader(&server.url, CONNECTIONS, work)?;
        match end {
            End::Asked => server.stop()?,
            End::Killed => drop(server),
        }
        let server = self.serve(&database, &settings)?;
        let listening_us = clock.us_at(server.listening_at);
        let synced_us = reader.synced(SYNCED_LIMIT)?;
        let mut measured = Measured::default();
        measured.set("synced_s", (synced_us - listening_us) as f64 / 1e6);

        let trial = Trial::new(database, opening_units, vec![server]);
        let orders = Orders {
            skus: PRODUCTS,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            rate: Some(RATE),
            more: &[],
            connections: ORDER_CONNECTIONS,
            warmup: Duration::ZERO,
            measured: ORDERS,
        };
        let load = self.load(trial.urls()[0], &orders)?;
        measured.ordered(&load);
        let finished = self.finish(reader, trial.database(), PRODUCTS)?;
        measured.set("goodbyes", finished.goodbyes as f64);
        measured.checked(finished);
        measured.audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        Ok(measured)
    }
}

/// One that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    let mut ports = std::iter::repeat_with(|| rand::random_range(PORTS)).take(PORTS.len());
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).context("there is no free port")
}
