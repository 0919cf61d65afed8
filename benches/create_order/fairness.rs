//! What a few callers get while others want much.
//!
//! The few order one line over 10,000 products, at a rate that the server hardly
//! notices. Beside them runs nobody, or as many callers as there can be for one
//! product, or one caller whose every order has 1,000 lines. What is measured are the
//! few; processor time alone is that of an order of either, since nobody can tell whose it
//! was.

use std::thread;

use crate::bench::{Bench, Measured};
use crate::meter::Meter;
use crate::setup::{Crowd, IN_FLIGHT, Served};
use crate::support::load::Orders;
use crate::support::stock::PRODUCTS;
use crate::support::stores::Totals;

/// Orders of the few each second, and the most of them under way.
const RATE: u32 = 500;
pub(crate) const CALLERS: usize = 1_024;

/// Connections of each of the two loads.
const CONNECTIONS: usize = 4;

/// The most lines that an order may have.
const WIDE_LINES: usize = 1_000;

impl Bench {
    /// Measures the few beside `crowd`.
    pub(crate) fn beside(&mut self, served: Served, crowd: Crowd) -> anyhow::Result<Measured> {
        let trial = self.trial(served)?;
        let urls = trial.urls();
        let few = Orders {
            skus: PRODUCTS,
            lines: 1,
            lines_file: None,
            in_flight: CALLERS,
            rate: Some(RATE),
            more: &[],
            connections: CONNECTIONS,
            warmup: self.open_warmup(),
            measured: self.measured,
        };
        let many = match crowd {
            Crowd::Nobody => None,
            Crowd::Hot => Some((1, 1, IN_FLIGHT)),
            Crowd::Wide => Some((PRODUCTS, WIDE_LINES, 1)),
        };
        let many = many.map(|(skus, lines, in_flight)| Orders {
            skus,
            lines,
            in_flight,
            rate: None,
            more: &[],
            ..few.clone()
        });
        let meter = Meter::of(&trial)?;
        let this = &*self;
        let (load, crowd) = thread::scope(|scope| {
            let crowd = many.map(|orders| {
                let urls = &urls;
                scope.spawn(move || this.load(urls, &orders))
            });
            let load = this.load(&urls, &few);
            (load, crowd.map(thread::ScopedJoinHandle::join))
        });
        let load = load?;
        let crowd = match crowd {
            None => None,
            Some(Ok(crowd)) => Some(crowd?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        };
        let cpu = meter.read(std::iter::once(&load).chain(&crowd))?;
        let told = Totals::of(std::iter::once(&load).chain(&crowd));
        let audit = Some(trial.end(&self.runtime, told)?);
        let mut measured = Measured {
            load,
            audit,
            cpu,
            offered_per_s: Some(RATE.into()),
            ..Measured::default()
        };
        if let Some(crowd) = crowd {
            measured.details.extend([
                ("crowd_accepted_per_s", crowd.accepted_per_s),
                ("crowd_p50_ms", crowd.p50_ms),
                ("crowd_p99_ms", crowd.p99_ms),
            ]);
        }
        Ok(measured)
    }
}
