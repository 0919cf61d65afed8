//! Orders with a long history in the tables and with none.

use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::fill;
use crate::support::effort::Effort;
use crate::support::load::{self, GRACE, Load, Orders};
use crate::support::numbers::{median, rounded};
use crate::support::processes::Server;
use crate::support::run::Run;
use crate::support::stores::{Database, Totals, sql};

/// Calls in flight, as in the bench of orders.
const IN_FLIGHT: usize = 1_024;

/// Orders of one shape.
#[derive(Debug, Serialize)]
pub(crate) struct OrdersRow {
    pub(crate) case: &'static str,
    /// With no history.
    pub(crate) empty_per_s: f64,
    /// With all of it.
    pub(crate) full_per_s: f64,
    pub(crate) ratio_to_empty: f64,
}

/// Measures them on both stores in turn; says what did not balance, too.
///
/// # Errors
/// A server or a database failed, or the run is to end.
pub(crate) fn measure(
    runtime: &Runtime,
    folder: &TempDir,
    [none, full]: [&Database; 2],
    effort: &Effort,
    run: &Run,
) -> anyhow::Result<(Vec<OrdersRow>, Vec<String>)> {
    let cases = [("hot", 1), ("spread", fill::SKUS)];
    let units = runtime.block_on(none.units_on_hand())?;
    let mut rates = vec![[Vec::new(), Vec::new()]; cases.len()];
    let mut problems = Vec::new();
    for repeat in 1..=effort.repeats {
        for (&(case, skus), [of_none, of_full]) in cases.iter().zip(&mut rates) {
            // What one measurement leaves behind would be a history for the next.
            let copy = none.copy()?;
            let load = send(runtime, folder, &copy, skus, effort)?;
            eprintln!("[{repeat}] {case}, none: {:.0}/s", load.accepted_per_s);
            of_none.push(load.accepted_per_s);
            let audit = runtime.block_on(copy.audit(units, Totals::of([&load])))?;
            let found = audit.problems.iter();
            problems.extend(found.map(|problem| format!("{case}, none: {problem}")));
            run.check()?;

            // What was written so far shall not be flushed while it is measured.
            sql(&full.url(), "CHECKPOINT")?;
            let load = send(runtime, folder, full, skus, effort)?;
            eprintln!("[{repeat}] {case}, with it: {:.0}/s", load.accepted_per_s);
            of_full.push(load.accepted_per_s);
            run.check()?;
        }
    }
    let rows = cases.iter().zip(rates).map(|(&(case, _), [empty, full])| {
        let ratios = full.iter().zip(&empty).map(|(full, empty)| full / empty);
        let ratio_to_empty = rounded(median(ratios), 3);
        OrdersRow {
            case,
            empty_per_s: rounded(median(empty.iter().copied()), 0),
            full_per_s: rounded(median(full.iter().copied()), 0),
            ratio_to_empty,
        }
    });
    Ok((rows.collect(), problems))
}

/// Sends orders for `skus` products to a server on `database`.
fn send(
    runtime: &Runtime,
    folder: &TempDir,
    database: &Database,
    skus: usize,
    effort: &Effort,
) -> anyhow::Result<Load> {
    let server = Server::stockroom(runtime, folder.path(), &database.url(), &[])?;
    let orders = Orders {
        skus,
        lines: 1,
        lines_file: None,
        in_flight: IN_FLIGHT,
        more: &[],
        rate: None,
        connections: 8,
        warmup: effort.warmup,
        measured: effort.measured,
    };
    let limit = effort.warmup + effort.measured + GRACE;
    let load = load::run(&[&server.url], folder.path(), &orders.arguments(), limit)?;
    server.stop()?;
    Ok(load)
}
