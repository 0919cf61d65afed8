//! Bad rows, as they are told.

use std::fmt;

/// Bad rows that are told one by one; of more only the number. A file with more has been
/// made wrongly, and the first ones show how.
pub(in crate::cli) const SHOWN_MAX: usize = 1_000;

/// Why a row cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Problem {
    /// The line that the row begins on, from 1.
    pub(in crate::cli) line: u64,
    /// The column; empty where it is the row as a whole.
    pub(in crate::cli) column: String,
    /// What is wrong, with the bound.
    pub(in crate::cli) why: String,
}

impl Problem {
    /// What is wrong with a row as a whole.
    pub(in crate::cli) fn of_row(line: u64, why: impl Into<String>) -> Self {
        Self {
            line,
            column: String::new(),
            why: why.into(),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, why } = self;
        match column.as_str() {
            "" => write!(f, "line {line}: {why}"),
            column => write!(f, "line {line}, {column}: {why}"),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(in crate::cli) struct BadRows {
    problems: Vec<Problem>,
    /// How many there are, those that are not kept included.
    total: u64,
    /// Why there may be more than were counted.
    cut_short: Option<&'static str>,
}

impl BadRows {
    pub(in crate::cli) fn add(&mut self, problem: Problem) {
        self.total += 1;
        if self.problems.len() < SHOWN_MAX {
            self.problems.push(problem);
        }
    }

    /// The rest of the file was not looked at.
    pub(in crate::cli) fn cut_short(&mut self, why: &'static str) {
        self.cut_short = Some(why);
    }

    /// Whether so many are known that more would not be shown.
    pub(in crate::cli) fn is_full(&self) -> bool {
        self.problems.len() >= SHOWN_MAX
    }

    /// Fails if there is one.
    pub(in crate::cli) fn into_result(mut self) -> Result<(), Self> {
        // Some are found by a later look at the same rows.
        self.problems.sort();
        if self.total == 0 { Ok(()) } else { Err(self) }
    }
}

impl std::error::Error for BadRows {}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            1 => write!(f, "1 problem:")?,
            total => write!(f, "{total} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        match self.total - self.problems.len() as u64 {
            0 => {}
            more => write!(f, "\n  and {more} more")?,
        }
        match self.cut_short {
            None => Ok(()),
            Some(why) => write!(f, "\n  {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_shown_by_line_and_all_are_counted() {
        let mut bad = BadRows::default();
        for line in (1..=SHOWN_MAX as u64 + 7).rev() {
            bad.add(Problem {
                line,
                column: "sku".to_owned(),
                why: "must be there".to_owned(),
            });
        }
        let told = bad.into_result().expect_err("there are some").to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), SHOWN_MAX + 2);
        assert_eq!(lines[0], "1007 problems:");
        assert_eq!(lines[1], "  line 8, sku: must be there");
        assert_eq!(lines[SHOWN_MAX + 1], "  and 7 more");
    }
}
