//! From single measurements to medians and ratios, and to the file that
//! programs read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::cases::{Case, Measured, Setup, Target};

/// In the folder that cargo builds to.
const JSON_FILE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../bench/create_order.json");

/// The one way to guard a level that there is so far.
const STRATEGY: &str = "optimistic";

/// All measurements, by what was measured.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<(Setup, Vec<Measured>)>);

/// What `target/bench/create_order.json` holds.
#[derive(Serialize)]
struct File<'a> {
    cases: &'a [Row],
}

/// The medians of the repeats of one setup. The names are those of the file.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// `hot`, `spread`, `baskets`; `echo` (one line an order) and `echo_baskets`.
    pub(crate) case: &'static str,
    /// `sqlite`, `postgres`; `none` for an echo.
    pub(crate) store: &'static str,
    /// How levels are guarded; `none` for an echo.
    pub(crate) strategy: &'static str,
    /// Whether orders share commits.
    pub(crate) batching: bool,
    /// Servers on the one database.
    pub(crate) instances: usize,
    /// Calls under way at the same time.
    pub(crate) in_flight: usize,
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
    /// `accepted_per_s` over that of the echo with the same messages.
    pub(crate) ratio_to_echo: Option<f64>,
    /// `accepted_per_s` over that of the best unbatched row of the case and store;
    /// none for rows without batching.
    pub(crate) ratio_to_unbatched: Option<f64>,
    /// Latency that half of the acknowledged orders stayed within.
    pub(crate) p50_ms: f64,
    /// Latency that 99 % of them stayed within.
    pub(crate) p99_ms: f64,
    /// Orders that shared a commit; none for an echo.
    pub(crate) orders_per_commit: Option<f64>,
    /// Whether the books balanced after every repeat. An echo has none to break.
    pub(crate) books_ok: bool,
}

impl Results {
    /// Takes down one measurement.
    pub(crate) fn add(&mut self, setup: Setup, measured: Measured) {
        let setup = pooled(setup);
        match self.0.iter_mut().find(|(known, _)| *known == setup) {
            Some((_, repeats)) => repeats.push(measured),
            None => self.0.push((setup, vec![measured])),
        }
    }

    /// One row for each setup: echoes first, then by store and case, the fastest
    /// unbatched row before the others.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut setups: Vec<&(Setup, Vec<Measured>)> = self.0.iter().collect();
        // Stable: what is equal here keeps the order of the schedule.
        setups.sort_by(|(a, a_repeats), (b, b_repeats)| {
            let place = |setup: &Setup| match setup.target {
                Target::Echo => (0, 0, setup.case as u8, false),
                Target::Store { store, batching } => (1, store as u8, setup.case as u8, !batching),
            };
            let faster_first = accepted(b_repeats).total_cmp(&accepted(a_repeats));
            place(a).cmp(&place(b)).then(faster_first)
        });
        setups
            .into_iter()
            .map(|(setup, repeats)| self.row(*setup, repeats))
            .collect()
    }

    /// What does not balance, and after which measurement.
    pub(crate) fn problems(&self) -> Vec<String> {
        let of = |(setup, repeats): &(Setup, Vec<Measured>)| {
            let audits = repeats
                .iter()
                .filter_map(|measured| measured.audit.as_ref());
            let problems = audits.flat_map(|audit| &audit.problems);
            problems
                .map(|problem| format!("{setup}: {problem}"))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    fn row(&self, setup: Setup, repeats: &[Measured]) -> Row {
        let is_baskets = setup.case == Case::Baskets;
        let (case, store, strategy, batching) = match setup.target {
            Target::Echo if is_baskets => ("echo_baskets", "none", "none", false),
            Target::Echo => ("echo", "none", "none", false),
            Target::Store { store, batching } => {
                (setup.case.name(), store.name(), STRATEGY, batching)
            }
        };
        let accepted_per_s = accepted(repeats);
        let of_each = |f: fn(&Measured) -> f64| repeats.iter().map(f);
        let audits = || {
            repeats
                .iter()
                .filter_map(|measured| measured.audit.as_ref())
        };
        Row {
            case,
            store,
            strategy,
            batching,
            instances: 1,
            in_flight: setup.in_flight,
            accepted_per_s: rounded(accepted_per_s, 1),
            accepted_per_s_min: rounded(of_each(accepted_once).fold(f64::INFINITY, f64::min), 1),
            accepted_per_s_max: rounded(of_each(accepted_once).fold(0.0, f64::max), 1),
            lines_per_s: is_baskets.then(|| rounded(median(of_each(|m| m.load.lines_per_s)), 1)),
            refused_per_s: rounded(median(of_each(|m| m.load.refused_per_s)), 1),
            ratio_to_echo: self
                .echo(setup.case)
                .map(|echo| rounded(accepted_per_s / echo, 3)),
            ratio_to_unbatched: self
                .unbatched(setup)
                .map(|best| rounded(accepted_per_s / best, 3)),
            p50_ms: rounded(median(of_each(|m| m.load.p50_ms)), 3),
            p99_ms: rounded(median(of_each(|m| m.load.p99_ms)), 3),
            orders_per_commit: (setup.target != Target::Echo)
                .then(|| rounded(median(audits().map(|audit| audit.orders_per_commit)), 2)),
            books_ok: audits().all(|audit| audit.problems.is_empty()),
        }
    }

    /// Orders a second of the echo of the messages of `case`.
    fn echo(&self, case: Case) -> Option<f64> {
        let setup = |target| Setup {
            case,
            target,
            in_flight: crate::IN_FLIGHT,
        };
        let echo = pooled(setup(Target::Echo));
        self.0
            .iter()
            .find(|(setup, _)| *setup == echo)
            .map(|(_, repeats)| accepted(repeats))
    }

    /// Orders a second of the best that does without what the batched `of` does.
    fn unbatched(&self, of: Setup) -> Option<f64> {
        let Target::Store {
            store,
            batching: true,
        } = of.target
        else {
            return None;
        };
        let target = Target::Store {
            store,
            batching: false,
        };
        let same = self
            .0
            .iter()
            .filter(|(setup, _)| setup.case == of.case && setup.target == target);
        same.map(|(_, repeats)| accepted(repeats))
            .max_by(f64::total_cmp)
    }
}

/// The echoes of `hot` and of `spread` exchange the same bytes: they are
/// repeats of one measurement.
fn pooled(mut setup: Setup) -> Setup {
    if setup.target == Target::Echo && setup.case == Case::Spread {
        setup.case = Case::Hot;
    }
    setup
}

fn accepted(repeats: &[Measured]) -> f64 {
    median(repeats.iter().map(accepted_once))
}

fn accepted_once(measured: &Measured) -> f64 {
    measured.load.accepted_per_s
}

/// The one in the middle, or between the two in the middle; 0 of none.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => 0.0,
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

/// Writes `rows` for programs and returns where to.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(rows: &[Row]) -> anyhow::Result<PathBuf> {
    let path = Path::new(JSON_FILE);
    let folder = path.parent().context("the file is in a folder")?;
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"))?;
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(&File { cases: rows })?;
    fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    Ok(path.canonicalize()?)
}
