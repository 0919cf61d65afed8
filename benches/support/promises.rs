//! A promise held against what was measured: the table of them that people read, and the
//! file for programs.

use std::path::PathBuf;

use comfy_table::Table;
use serde::Serialize;

use super::files;
use super::tables::{new_table, short};

/// One promise held against what was measured. Bounds include their value.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// What is promised.
    pub(crate) what: String,
    /// What is counted: `× echo`, `ms`, `%`.
    pub(crate) unit: &'static str,
    pub(crate) measured: f64,
    /// Whether more is better.
    pub(crate) more_is_better: bool,
    /// What must be reached.
    pub(crate) at_least: f64,
    /// What is aimed at beyond that.
    pub(crate) beyond: Option<f64>,
    /// `beyond`, `reached` or `MISSED`.
    pub(crate) outcome: &'static str,
}

impl Verdict {
    /// More is better.
    pub(crate) fn least(
        what: impl Into<String>,
        unit: &'static str,
        measured: f64,
        at_least: f64,
        beyond: impl Into<Option<f64>>,
    ) -> Self {
        Self::new(what.into(), unit, measured, true, (at_least, beyond.into()))
    }

    /// Less is better.
    pub(crate) fn most(
        what: impl Into<String>,
        unit: &'static str,
        measured: f64,
        at_most: f64,
        beyond: impl Into<Option<f64>>,
    ) -> Self {
        Self::new(what.into(), unit, measured, false, (at_most, beyond.into()))
    }

    fn new(
        what: String,
        unit: &'static str,
        measured: f64,
        more_is_better: bool,
        (at_least, beyond): (f64, Option<f64>),
    ) -> Self {
        let meets = |bound: f64| {
            if more_is_better {
                measured >= bound
            } else {
                measured <= bound
            }
        };
        let outcome = if !meets(at_least) {
            "MISSED"
        } else if beyond.is_some_and(meets) {
            "beyond"
        } else {
            "reached"
        };
        Self {
            what,
            unit,
            measured,
            more_is_better,
            at_least,
            beyond,
            outcome,
        }
    }
}

/// What was promised beside what was measured.
pub(crate) fn promises(verdicts: &[Verdict]) -> Table {
    let mut table = new_table(
        &["what", "", "at least", "beyond that", "measured", "outcome"],
        2,
    );
    for verdict in verdicts {
        let sign = if verdict.more_is_better { "≥" } else { "≤" };
        let bound = |bound: f64| format!("{sign} {}", short(bound));
        table.add_row([
            verdict.what.clone(),
            verdict.unit.to_owned(),
            bound(verdict.at_least),
            verdict.beyond.map(bound).unwrap_or_default(),
            short(verdict.measured),
            verdict.outcome.to_owned(),
        ]);
    }
    table
}

/// Writes `cases`, one row of what was measured for each, and the verdicts for programs to
/// `name`, and returns where to.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(
    name: &str,
    cases: &[impl Serialize],
    verdicts: &[Verdict],
) -> anyhow::Result<PathBuf> {
    #[derive(Serialize)]
    struct File<'a, Case> {
        cases: &'a [Case],
        verdicts: &'a [Verdict],
    }
    files::write_json(name, &File { cases, verdicts })
}
