//! One level to 10,000 streams, always something newer to send.
//!
//! Orders for the level come at a small rate that is still many times what a stream can
//! be sent, so that whenever a stream has its turn there is a newer value. Pacing is
//! switched off: what is measured is how fast messages leave, not how politely.

use crate::bench::{Bench, Measured};
use crate::reader::{Keep, Work};
use crate::subjects::{CONNECTIONS, STREAMS};
use crate::support::load::Orders;
use crate::support::stores::Totals;

/// New values a second: with 10,000 streams up to two million messages a second.
const NEWER_PER_S: u32 = 200;

/// Orders under way: far more than a small rate ever has.
const IN_FLIGHT: usize = 256;

/// Connections of the orders.
const ORDER_CONNECTIONS: usize = 2;

/// Switches the pacing of watchers off.
const UNPACED: &[(&str, &str)] = &[("STOCKROOM_WATCH_CPU_SHARE_PERCENT", "0")];

impl Bench {
    /// Measures the server.
    pub(crate) fn fanout(&mut self) -> anyhow::Result<Measured> {
        let settings: Vec<_> = UNPACED
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let trial = self.trial(1, &settings)?;
        let orders = self.orders(Orders {
            skus: 1,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            rate: Some(NEWER_PER_S),
            more: &[],
            connections: ORDER_CONNECTIONS,
            warmup: self.warmup,
            measured: self.measured,
        });
        let url = trial.urls()[0].to_owned();
        let mut measured = Measured::default();
        let mut reader = self.reader(&url, CONNECTIONS, WORK)?;
        let servers = trial.pids();
        let (load, window) =
            self.watched_load(&url, &orders, &mut reader, &servers, &mut measured)?;
        measured.lag(window.age);
        measured.set("orders_per_s", load.accepted_per_s);
        measured.ordered(&load);
        measured.finished(self.finish(reader, trial.database(), 1)?);
        measured.audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        Ok(measured)
    }

    /// Measures the floor.
    pub(crate) fn bare_fanout(&mut self) -> anyhow::Result<Measured> {
        let server = self.bare(NEWER_PER_S)?;
        let mut measured = Measured::default();
        let mut reader = self.reader(&server.url, CONNECTIONS, WORK)?;
        std::thread::sleep(self.warmup);
        let window = self.window(&mut reader, &[server.pid()], &mut measured)?;
        measured.lag(window.age);
        measured.finished(reader.finish(None)?);
        server.stop()?;
        Ok(measured)
    }
}

/// Everybody watches the first product.
const WORK: Work = Work::Watch {
    streams: STREAMS,
    levels: 1,
    keep: Keep::LastValues,
};
