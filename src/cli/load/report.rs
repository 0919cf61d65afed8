//! What a load measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::LoadArgs;
use super::drive::Tally;
use super::schedule::GRACE;
use crate::cli::table::{grouped, indented, table};

/// The result of a load. Its fields are the keys of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// "closed" or "open".
    pub(super) mode: &'static str,
    /// Calls under way at the same time; in an open loop the most there may be.
    pub(super) in_flight: usize,
    /// Orders due each second; null in a closed loop.
    pub(super) rate: Option<u32>,
    /// Servers that shared the load.
    pub(super) instances: usize,
    /// Connections to each of them, which the calls shared.
    pub(super) connections: usize,
    /// Products to order from.
    pub(super) skus: usize,
    /// Part of the orders that are to name the first product.
    pub(super) hot: f64,
    /// Seconds measured, warm-up left out. What follows counts the orders that were answered
    /// in them; of an open loop those that fell due in them, whenever they were answered.
    pub(super) seconds: f64,
    /// Orders accepted.
    pub(super) accepted: u64,
    /// Orders accepted each second.
    pub(super) accepted_per_s: f64,
    /// Lines of accepted orders each second.
    pub(super) lines_per_s: f64,
    /// Orders not accepted each second, whatever the reason.
    pub(super) refused_per_s: f64,
    /// The same by reason, or by gRPC code where there is no reason.
    pub(super) refused_per_s_by_reason: BTreeMap<String, f64>,
    /// Latencies of accepted orders in milliseconds: half of them are within this.
    pub(super) p50_ms: f64,
    /// 90 % of them are within this.
    pub(super) p90_ms: f64,
    /// 99 % of them are within this.
    pub(super) p99_ms: f64,
    /// 99.9 % of them are within this.
    pub(super) p99_9_ms: f64,
    /// The longest.
    pub(super) max_ms: f64,
    /// 99 % of the refusals came within this; null when there was none.
    pub(super) refused_p99_ms: Option<f64>,
    /// Refusals each second that did not say when to come back.
    pub(super) refused_for_good_per_s: f64,
    /// Orders that fell due and had not been sent 10 s after the end; 0 in a closed loop.
    pub(super) not_sent: u64,
    /// Seconds after the end until the last order that fell due was answered; 0 in a closed
    /// loop. Much of it means that `accepted_per_s` is more than the server took in a second.
    pub(super) overrun_s: f64,
    /// Orders accepted from the first call to the last, warm-up included.
    pub(super) accepted_total: u64,
    /// Units of these: taken, or reserved if they are on hold.
    pub(super) units_total: u64,
}

impl Report {
    pub(super) fn new(args: &LoadArgs, tally: &Tally) -> Self {
        let per_s = |count: u64| {
            if args.seconds > 0.0 {
                count as f64 / args.seconds
            } else {
                0.0
            }
        };
        let by_reason = |(reason, count): (&String, &u64)| (reason.clone(), per_s(*count));
        Self {
            mode: if args.rate.is_some() {
                "open"
            } else {
                "closed"
            },
            in_flight: args.in_flight,
            rate: args.rate,
            instances: args.addresses.count(),
            connections: args.connections,
            skus: args.skus,
            hot: args.hot,
            seconds: args.seconds,
            accepted: tally.accepted,
            accepted_per_s: per_s(tally.accepted),
            lines_per_s: per_s(tally.lines),
            refused_per_s: per_s(tally.refused.values().sum()),
            refused_per_s_by_reason: tally.refused.iter().map(by_reason).collect(),
            p50_ms: tally.latencies.ms_at(50.0),
            p90_ms: tally.latencies.ms_at(90.0),
            p99_ms: tally.latencies.ms_at(99.0),
            p99_9_ms: tally.latencies.ms_at(99.9),
            max_ms: tally.latencies.max_ms(),
            refused_p99_ms: tally.refusals.as_ref().map(|refusals| refusals.ms_at(99.0)),
            refused_for_good_per_s: per_s(tally.refused_for_good),
            not_sent: tally.not_sent,
            overrun_s: tally.overrun.as_secs_f64(),
            accepted_total: tally.accepted_total,
            units_total: tally.units_total,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loop_ = match self.rate {
            Some(rate) => format!("open loop, {rate} orders/s due, latency from then"),
            None => format!("closed loop, {} calls in flight", self.in_flight),
        };
        let (skus, connections) = (grouped(self.skus as u64), self.connections);
        let each = match self.instances {
            1 => String::new(),
            instances => format!(" to each of {instances} servers"),
        };
        writeln!(
            f,
            "{loop_}, {connections} connections{each}, {skus} products, {} s",
            self.seconds
        )?;

        let mut rows = table(["", "each second"]);
        let whole = |number: f64| grouped(number.round() as u64);
        rows.add_row(["accepted orders", &whole(self.accepted_per_s)]);
        rows.add_row(["their lines", &whole(self.lines_per_s)]);
        rows.add_row(["refused orders", &whole(self.refused_per_s)]);
        for (reason, per_s) in &self.refused_per_s_by_reason {
            rows.add_row([format!("  {reason}"), whole(*per_s)]);
        }
        writeln!(f, "\n{}", indented(&rows))?;

        let mut latencies = table([
            "latency of accepted orders",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
        ]);
        let times = [
            self.p50_ms,
            self.p90_ms,
            self.p99_ms,
            self.p99_9_ms,
            self.max_ms,
        ];
        let cells = times.map(|ms| format!("{ms:.2}"));
        latencies.add_row(std::iter::once("milliseconds".to_owned()).chain(cells));
        writeln!(f, "{}", indented(&latencies))?;
        if let Some(p99) = self.refused_p99_ms {
            writeln!(f, "99 % of the refusals came within {p99:.2} ms")?;
        }
        if self.mode == "open" {
            let overrun = self.overrun_s;
            writeln!(
                f,
                "all that was sent was answered {overrun:.2} s after the end"
            )?;
        }
        if self.not_sent > 0 {
            let not_sent = grouped(self.not_sent);
            writeln!(
                f,
                "NOT SENT: {not_sent} orders that were due, within {GRACE:?} of the end"
            )?;
        }
        write!(
            f,
            "\n{} orders accepted in all, warm-up included",
            grouped(self.accepted_total)
        )
    }
}
