//! What the demo says when it is over.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::flash_sale::{CALLERS, ORDERS, Sale, UNITS};
use super::watchers::Truth;
use crate::cli::replay::{self, Summary};
use crate::cli::table::grouped;
use crate::client::history::Report;
use crate::storage::Books;
use crate::telemetry::Counters;

/// Violations that are shown in words.
const VIOLATIONS_SHOWN: usize = 3;

/// All that happened.
pub(super) struct Act {
    pub(super) invoices: usize,
    pub(super) replayed: Summary,
    pub(super) sale: Sale,
    pub(super) watched: Report,
    pub(super) truth: Truth,
    pub(super) books: Books,
    pub(super) counters: Arc<Counters>,
    pub(super) took: Duration,
}

impl Act {
    /// Whether nothing is wrong anywhere.
    pub(super) fn adds_up(&self) -> bool {
        self.checks().iter().all(|(_, holds)| *holds)
    }

    /// Everything that must hold, in words, and whether it does: first what the
    /// database says of itself, then what callers and watchers saw against it.
    fn checks(&self) -> Vec<(String, bool)> {
        let rules = self.books.rules.iter();
        let mut checks: Vec<_> = rules
            .map(|r| (r.rule.to_owned(), r.broken_by == 0))
            .collect();
        let accepted = self.replayed.orders.accepted + self.sale.accepted;
        let units = self.replayed.orders.units + self.sale.accepted;
        let on_shelf = self.truth.level(&self.sale.sku).map(|level| level.on_hand);
        checks.extend([
            (
                "every order that a caller was told of is there, and no other".to_owned(),
                u64::try_from(self.books.orders) == Ok(accepted),
            ),
            (
                "the units that callers were told of are those that left".to_owned(),
                u64::try_from(self.books.units_sold) == Ok(units),
            ),
            (
                format!(
                    "the flash sale sold exactly {}, and the shelf is empty",
                    grouped(UNITS)
                ),
                self.sale.adds_up() && on_shelf == Some(0),
            ),
            (
                "no watcher saw a version twice, out of order or impossible; all saw the last"
                    .to_owned(),
                // A store that loses nothing never has to reset.
                self.watched.violations == 0 && self.watched.resets == 0,
            ),
        ]);
        checks
    }

    /// What to try while the server goes on.
    pub(super) fn invitation(&self, url: &str) -> String {
        let address = url.trim_start_matches("http://");
        let most = self
            .truth
            .levels()
            .max_by_key(|level| (level.available(), &level.key));
        let (sku, available) = most.map_or(("85123A", 0), |l| (l.key.sku.as_str(), l.available()));
        let call = format!("grpcurl -plaintext -d '{{}}' {address} stockroom.v1.");
        let call = |body: &str, method: &str| call.replace("{}", body) + method;
        let order = |id: &str, quantity: i64| {
            let body = format!(
                r#"{{"request_id":"{id}","lines":[{{"sku":"{sku}","quantity":{quantity}}}]}}"#
            );
            call(&body, "OrderService/CreateOrder")
        };
        let one = format!(r#"{{"sku":"{sku}"}}"#);
        let watched = format!(r#"{{"selectors":[{{"level":{one}}}]}}"#);
        let lines = [
            (
                "watch a product, here or in another terminal",
                call(&watched, "InventoryService/WatchStock"),
            ),
            (
                "order one; once more, and it is the same order",
                order("try-1", 1),
            ),
            ("order more than there is", order("try-2", available + 1)),
            ("see what is left", call(&one, "InventoryService/GetStock")),
            (
                "what is running low",
                call(
                    r#"{"low_only":true,"page_size":5}"#,
                    "InventoryService/ListStock",
                ),
            ),
        ];
        let mut text = format!("TRY IT — still serving on {address}; Ctrl-C ends it\n");
        for (what, line) in lines {
            text += &format!("\n  # {what}\n  {line}\n");
        }
        text
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nTHE SHOP — {} invoices of a real gift shop, December 2010\n",
            self.invoices
        )?;
        writeln!(f, "{}", replay::tables(&self.replayed))?;
        self.fmt_sale(f)?;
        self.fmt_watchers(f)?;
        self.fmt_engine(f)?;
        writeln!(f, "THE BOOKS — read from the database\n")?;
        for (rule, holds) in self.checks() {
            writeln!(f, "  {} {rule}", if holds { '✓' } else { '✗' })?;
        }
        let verdict = if self.adds_up() {
            "Everything adds up"
        } else {
            "SOMETHING IS WRONG"
        };
        writeln!(f, "\n{verdict}, after {:.1} s.", self.took.as_secs_f64())
    }
}

impl Act {
    fn fmt_sale(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sale = &self.sale;
        let (orders, units) = (grouped(ORDERS), grouped(UNITS));
        writeln!(
            f,
            "FLASH SALE — {CALLERS} callers, {orders} orders, {units} units of {}\n",
            sale.sku
        )?;
        line(f, sale.accepted, "sold")?;
        for (reason, count) in &sale.refused {
            line(f, *count, &format!("refused, {reason}"))?;
        }
        let (p50, p99) = (sale.latencies.ms_at(50.0), sale.latencies.ms_at(99.0));
        let per_s = ORDERS as f64 / sale.took.as_secs_f64();
        let words = format!("orders answered a second; p50 {p50:.1} ms, p99 {p99:.1} ms\n");
        line(f, per_s as u64, &words)
    }

    fn fmt_watchers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = &self.watched;
        let streams = watched.streams;
        writeln!(f, "WATCHERS — {streams} streams, open all the while\n")?;
        line(f, watched.levels, "levels delivered")?;
        line(f, watched.versions, "versions that these stand for")?;
        line(f, watched.violations, "violations")?;
        for violation in watched.examples.iter().take(VIOLATIONS_SHOWN) {
            writeln!(f, "             {violation}")?;
        }
        f.write_char('\n')
    }

    fn fmt_engine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        let writes = counters.orders.accepted.get() + counters.adjustments.accepted.get();
        let commits = counters.commit.made.get();
        let each = writes as f64 / commits.max(1) as f64;
        writeln!(
            f,
            "ENGINE — a transaction takes all that queued during the one before\n"
        )?;
        line(f, commits, &format!("transactions, {each:.1} writes each"))?;
        line(f, counters.conflicts.get(), "conflicts")?;
        let movements = u64::try_from(self.books.movements).unwrap_or(0);
        line(f, movements, "movements in the ledger\n")
    }
}

/// A number and what it counts.
fn line(f: &mut fmt::Formatter<'_>, number: u64, words: &str) -> fmt::Result {
    writeln!(f, "  {:>9}  {words}", grouped(number))
}
