//! What is published of each case: a row of `target/bench/create_order.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bench::Measured;
use crate::meter::Cpu;
use crate::results::Results;
use crate::setup::{Course, Setup, Shape, Target};
use crate::support::numbers::{median, medians, rounded};

/// The medians of the repeats of one setup. The names are those of the file.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// `hot`, `spread`, `baskets`; floors: `echo` (one line an order), `echo_baskets`,
    /// `bare_…`; with one caller: `…_idle`; in an open loop: `hot_at_50_percent` of the
    /// peak, `overload`, `beside_…` (a few callers and a crowd). With Kafka told: `hot_events`.
    pub(crate) case: String,
    /// `sqlite`, `postgres`; `none` for an echo.
    pub(crate) store: &'static str,
    /// How levels are guarded; `none` for an echo.
    pub(crate) strategy: &'static str,
    /// Whether orders share commits.
    pub(crate) batching: bool,
    /// Servers on the one database; of a floor 1, too.
    pub(crate) instances: usize,
    /// Connections to the database of each; none for an echo.
    pub(crate) pool_max: Option<usize>,
    /// Calls under way at the same time; of an open loop the most there may be.
    pub(crate) in_flight: usize,
    /// Orders due each second; none in a closed loop.
    pub(crate) offered_per_s: Option<f64>,
    /// How often it was measured.
    pub(crate) repeats: usize,
    /// Orders acknowledged each second: the median of the repeats.
    pub(crate) accepted_per_s: f64,
    /// The slowest repeat.
    pub(crate) accepted_per_s_min: f64,
    /// The fastest repeat.
    pub(crate) accepted_per_s_max: f64,
    /// Lines of these orders, where an order has more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines_per_s: Option<f64>,
    /// Orders not acknowledged each second, whatever the reason.
    pub(crate) refused_per_s: f64,
    /// Latency that 99 % of these stayed within.
    pub(crate) refused_p99_ms: Option<f64>,
    /// Those that did not say when to come back.
    pub(crate) refused_for_good_per_s: f64,
    /// Orders of an open loop that were due and not sent, in all repeats together.
    pub(crate) not_sent: u64,
    /// `accepted_per_s` over that of the echo with the same messages.
    pub(crate) ratio_to_echo: Option<f64>,
    /// `accepted_per_s` over that of the best unbatched row of the case, store and
    /// strategy; none for rows without batching.
    pub(crate) ratio_to_unbatched: Option<f64>,
    /// `accepted_per_s` over that of PostgreSQL told to do the same with nothing before it.
    pub(crate) ratio_to_bare: Option<f64>,
    /// `accepted_per_s` over 1 / (1/echo + 1/bare), the rate of doing the one after the other.
    pub(crate) ratio_to_limit: Option<f64>,
    /// Whether it is the best of the connections and calls in flight that were tried: of those
    /// that were measured most often.
    pub(crate) best: bool,
    /// Latency that half of the acknowledged orders stayed within.
    pub(crate) p50_ms: f64,
    /// Latency that 99 % of them stayed within.
    pub(crate) p99_ms: f64,
    /// Orders that shared a commit; none for an echo.
    pub(crate) orders_per_commit: Option<f64>,
    /// Processor time of one order: `cpu_server_us`, `cpu_database_us`, `cpu_generator_us`.
    #[serde(flatten)]
    pub(crate) cpu: Cpu,
    /// Whether the books balanced after every repeat. An echo has none to break.
    pub(crate) books_ok: bool,
    /// What this case alone has to say.
    #[serde(flatten)]
    pub(crate) details: BTreeMap<&'static str, f64>,
}

/// One row for each setup: floors first, then by store, and the best of several
/// variants before the others.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut all: Vec<_> = results.all().collect();
    // Stable: what is equal here keeps the order of the schedule.
    all.sort_by_key(|(setup, _)| match setup.target {
        Target::Echo => 0,
        Target::Bare { .. } => 1,
        Target::Store(served) => 2 + served.store as u8,
    });
    let mut rows: Vec<(Setup, Row)> = all
        .into_iter()
        .map(|(setup, repeats)| (setup.family(), row(results, setup, repeats)))
        .collect();
    let mut ordered = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        let family = rows[0].0;
        let (mut variants, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(other, _)| *other == family);
        variants.sort_by(|(_, a), (_, b)| b.accepted_per_s.total_cmp(&a.accepted_per_s));
        ordered.extend(variants.into_iter().map(|(_, row)| row));
        rows = others;
    }
    ordered
}

fn row(results: &Results, setup: Setup, repeats: &[Measured]) -> Row {
    let of_each = |f: fn(&Measured) -> f64| repeats.iter().map(f);
    let accepted = median(of_each(|m| m.load.accepted_per_s));
    let (mut row, is_full_load) = named(setup);
    if is_full_load {
        let (echo, bare) = (results.echo(setup), results.bare(setup));
        let limit = echo.zip(bare).map(|(echo, bare)| limit(echo, bare));
        let over = |floor: Option<f64>| floor.map(|floor| rounded(accepted / floor, 3));
        row.ratio_to_echo = over(echo);
        row.ratio_to_unbatched = over(results.unbatched(setup));
        row.ratio_to_bare = over(bare);
        row.ratio_to_limit = over(limit);
    }
    let least = of_each(|m| m.load.accepted_per_s).fold(f64::INFINITY, f64::min);
    let most = of_each(|m| m.load.accepted_per_s).fold(0.0, f64::max);
    let per_commit = repeats
        .iter()
        .filter_map(|m| Some(m.audit.as_ref()?.orders_per_commit));
    let refused: Vec<f64> = repeats
        .iter()
        .filter_map(|m| m.load.refused_p99_ms)
        .collect();
    let balanced = |m: &Measured| m.audit.as_ref().is_none_or(|a| a.problems.is_empty());
    Row {
        offered_per_s: repeats[0]
            .offered_per_s
            .map(|_| median(of_each(|m| m.offered_per_s.unwrap_or(0.0)))),
        repeats: repeats.len(),
        accepted_per_s: rounded(accepted, 1),
        accepted_per_s_min: rounded(least, 1),
        accepted_per_s_max: rounded(most, 1),
        lines_per_s: (setup.shape == Shape::Baskets)
            .then(|| rounded(median(of_each(|m| m.load.lines_per_s)), 1)),
        refused_per_s: rounded(median(of_each(|m| m.load.refused_per_s)), 1),
        refused_p99_ms: (!refused.is_empty()).then(|| rounded(median(refused.into_iter()), 3)),
        refused_for_good_per_s: rounded(median(of_each(|m| m.load.refused_for_good_per_s)), 1),
        not_sent: repeats.iter().map(|m| m.load.not_sent).sum(),
        best: results.best(setup).is_some_and(|(best, _)| best == setup),
        p50_ms: rounded(median(of_each(|m| m.load.p50_ms)), 3),
        p99_ms: rounded(median(of_each(|m| m.load.p99_ms)), 3),
        orders_per_commit: repeats[0]
            .audit
            .is_some()
            .then(|| rounded(median(per_commit), 2)),
        cpu: Cpu {
            server_us: rounded(median(of_each(|m| m.cpu.server_us)), 1),
            database_us: rounded(median(of_each(|m| m.cpu.database_us)), 1),
            generator_us: rounded(median(of_each(|m| m.cpu.generator_us)), 1),
        },
        books_ok: repeats.iter().all(balanced),
        details: medians(repeats.iter().map(|m| &m.details)),
        ..row
    }
}

/// A row that says what `setup` is, and whether it makes as many orders as it can.
fn named(setup: Setup) -> (Row, bool) {
    let (store, strategy, batching, instances, pool_max) = match setup.target {
        Target::Echo => ("none", "none", false, 1, None),
        Target::Bare {
            guard,
            batching,
            connections,
        } => ("postgres", guard.name(), batching, 1, Some(connections)),
        Target::Store(served) => (
            served.store.name(),
            served.guard.name(),
            served.batching,
            served.instances,
            Some(served.pool_max),
        ),
    };
    let is_server = !matches!(setup.target, Target::Bare { .. });
    let is_full_load = is_server && setup.course == Course::Closed && setup.in_flight > 1;
    let row = Row {
        case: setup.case(),
        store,
        strategy,
        batching,
        instances,
        pool_max,
        in_flight: setup.in_flight,
        offered_per_s: None,
        repeats: 0,
        accepted_per_s: 0.0,
        accepted_per_s_min: 0.0,
        accepted_per_s_max: 0.0,
        lines_per_s: None,
        refused_per_s: 0.0,
        refused_p99_ms: None,
        refused_for_good_per_s: 0.0,
        not_sent: 0,
        ratio_to_echo: None,
        ratio_to_unbatched: None,
        ratio_to_bare: None,
        ratio_to_limit: None,
        best: true,
        p50_ms: 0.0,
        p99_ms: 0.0,
        orders_per_commit: None,
        cpu: Cpu::default(),
        books_ok: true,
        details: BTreeMap::new(),
    };
    (row, is_full_load)
}

/// The rate of orders that are echoed first and then written by PostgreSQL alone, one thing
/// after the other. No ceiling: `bare` on one connection leaves cores idle, and whoever does
/// both at a time may use them.
pub(crate) fn limit(echo: f64, bare: f64) -> f64 {
    1.0 / (1.0 / echo + 1.0 / bare)
}
