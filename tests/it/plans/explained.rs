//! Statements as PostgreSQL says in its log that it ran them.

use crate::fixture::{Home, Stockroom, eventually};

/// A statement as it was run.
pub(super) struct Explained(pub(super) String);

impl Explained {
    /// The last statement that reads `table`, once it is in the log.
    pub(super) async fn last_of(server: &Stockroom, table: &str) -> Self {
        let mut last = None;
        eventually("the statement is explained", async || {
            last = Self::all_of(server, table).pop();
            last.is_some()
        })
        .await;
        last.unwrap()
    }

    /// The statements that read `table`, as they are in the log.
    pub(super) fn all_of(server: &Stockroom, table: &str) -> Vec<Self> {
        let Home::Postgres(database) = &*server.home else {
            panic!("SQLite explains nothing");
        };
        let log = database.log();
        let entries = log.split(" plan:\n").skip(1);
        let explained = entries.map(|entry| {
            let lines = entry.lines().take_while(|line| line.starts_with('\t'));
            lines.flat_map(|line| [line, "\n"]).collect()
        });
        // The last one may be half written.
        let whole = explained.filter(|plan: &String| plan.contains("(actual rows="));
        let of_table = whole.filter(|plan| plan.contains(table));
        of_table.map(Self).collect()
    }

    /// The most rows that a step of the plan gave or threw away, over all its loops.
    pub(super) fn rows(&self) -> u64 {
        let number = |text: &str| -> u64 {
            let digits = text.trim_start().split(|c: char| !c.is_ascii_digit());
            digits.into_iter().next().unwrap().parse().unwrap()
        };
        let steps = self.0.lines().filter_map(|line| {
            if let Some((_, removed)) = line.split_once("Rows Removed by Filter:") {
                return Some(number(removed));
            }
            let (_, actual) = line.split_once("(actual rows=")?;
            let (_, loops) = actual.split_once("loops=")?;
            Some(number(actual) * number(loops))
        });
        steps.max().expect("it was analyzed")
    }

    /// Pages of tables and indexes that it looked into.
    pub(super) fn pages(&self) -> u64 {
        let line = self.0.lines().find(|line| line.contains("Buffers: shared"));
        let counts = line.into_iter().flat_map(|line| line.split(' '));
        let counts = counts.filter_map(|word| {
            let (kind, count) = word.split_once('=')?;
            matches!(kind, "hit" | "read").then(|| count.parse::<u64>().unwrap())
        });
        counts.sum()
    }

    /// Fails unless it looks rows up in `index`, touches no more than `rows` and no more
    /// pages than these take.
    #[track_caller]
    pub(super) fn uses(&self, index: &str, rows: u64) -> &Self {
        let plan = &self.0;
        assert!(plan.contains(&format!("using {index} on")), "{plan}");
        for step in [
            "Seq Scan",
            "Sort",
            "Bitmap",
            "Materialize",
            "Hash",
            "Gather",
        ] {
            assert!(!plan.contains(step), "{step} in {plan}");
        }
        assert!(self.rows() <= rows, "{} rows in {plan}", self.rows());
        // To each row, and back and forth between two indexes; no end of an index beyond.
        let pages = 10 + 6 * rows;
        assert!(self.pages() <= pages, "{} pages in {plan}", self.pages());
        self
    }
}
