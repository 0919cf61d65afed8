//! Orders for one product as fast as they go, with and without 10,000 streams that
//! watch it. Paced as it is by default.

use crate::bench::{Bench, Measured};
use crate::reader::{Keep, Work};
use crate::subjects::{CONNECTIONS, STREAMS};
use crate::support::load::{Load, Orders};
use crate::support::stores::Totals;

/// As in the bench of orders.
const IN_FLIGHT: usize = 1_024;
const ORDER_CONNECTIONS: usize = 8;

impl Bench {
    /// Measures the orders alone.
    pub(crate) fn hot_alone(&mut self) -> anyhow::Result<Measured> {
        let trial = self.trial(1, &[])?;
        let load = self.load(trial.urls()[0], &self.hot_orders())?;
        let mut measured = ordered(&load);
        measured.audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        Ok(measured)
    }

    /// Measures them while they are watched.
    pub(crate) fn hot(&mut self) -> anyhow::Result<Measured> {
        let trial = self.trial(1, &[])?;
        let url = trial.urls()[0].to_owned();
        let work = Work::Watch {
            streams: STREAMS,
            levels: 1,
            keep: Keep::AllValues,
        };
        let mut reader = self.reader(&url, CONNECTIONS, work)?;
        let (servers, orders) = (trial.pids(), self.hot_orders());
        let mut watched = Measured::default();
        let (load, window) =
            self.watched_load(&url, &orders, &mut reader, &servers, &mut watched)?;
        let mut measured = ordered(&load);
        // The server's processor time is for the orders, not for the messages.
        watched.values.remove("server_us_per_message");
        measured.values.extend(watched.values);
        measured.lag(window.age);
        measured.finished(self.finish(reader, trial.database(), 1)?);
        measured.audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        Ok(measured)
    }

    fn hot_orders(&self) -> Orders {
        self.orders(Orders {
            skus: 1,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            rate: None,
            more: &[],
            connections: ORDER_CONNECTIONS,
            warmup: self.warmup,
            measured: self.measured,
        })
    }
}

fn ordered(load: &Load) -> Measured {
    let mut measured = Measured::default();
    measured.set("orders_per_s", load.accepted_per_s);
    measured.set("order_p50_ms", load.p50_ms);
    measured.set("order_p99_ms", load.p99_ms);
    measured
}
