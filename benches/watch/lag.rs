//! From the commit to the reader: 1,000 streams on 1,000 levels, 1,000 orders a second.
//!
//! With two instances the orders go to one and the reader reads from the other. The time
//! of a commit is that of its movements, which the server sets just before it commits:
//! what is measured is a little more than what is promised. Each version in the ledger
//! counts, from then until it or a later one has come; SQLite's ledger is not read here,
//! and of its versions those that came count.

use crate::bench::{Bench, Measured};
use crate::reader::{Keep, Work};
use crate::subjects::{LAG_CONNECTIONS, LAG_STREAMS};
use crate::support::load::Orders;
use crate::support::stores::Totals;

/// Orders due each second, and the most of them under way.
const RATE: u32 = 1_000;
const IN_FLIGHT: usize = 1_024;

/// Connections of the orders.
const ORDER_CONNECTIONS: usize = 4;

impl Bench {
    /// Measures with so many instances.
    pub(crate) fn lag(&mut self, instances: usize) -> anyhow::Result<Measured> {
        let trial = self.trial(instances, &[])?;
        let urls = trial.urls();
        let (ordered_at, watched_at) = (urls[0], urls[instances - 1]);
        let work = Work::Watch {
            streams: LAG_STREAMS,
            levels: LAG_STREAMS,
            keep: Keep::Arrivals,
        };
        let orders = self.orders(Orders {
            skus: LAG_STREAMS,
            lines: 1,
            lines_file: None,
            in_flight: IN_FLIGHT,
            rate: Some(RATE),
            more: &[],
            connections: ORDER_CONNECTIONS,
            warmup: self.warmup,
            measured: self.measured,
        });
        let mut measured = Measured::default();
        let mut reader = self.reader(watched_at, LAG_CONNECTIONS, work)?;
        let servers = trial.pids();
        let (load, window) =
            self.watched_load(ordered_at, &orders, &mut reader, &servers, &mut measured)?;
        let finished = self.finish(reader, trial.database(), LAG_STREAMS)?;
        let is_ledger_read = self.store == crate::support::stores::StoreKind::Postgres;
        measured.lag(if is_ledger_read {
            finished.lag
        } else {
            window.age
        });
        measured.set("orders_per_s", load.accepted_per_s);
        measured.ordered(&load);
        measured.finished(finished);
        measured.audit = Some(trial.end(&self.runtime, Totals::of([&load]))?);
        Ok(measured)
    }
}
