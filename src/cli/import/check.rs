//! The first look at a file: every row by itself, and against the others.

use sha2::{Digest as _, Sha256};

use super::columns::What;
use super::rows::{Row, Table};
use super::source::Bytes;
use crate::cli::progress::Progress;
use crate::cli::sheet::bad::{BadRows, Problem};

/// Most rows of a file. What is kept to find names that come twice takes 16 bytes a row,
/// so 160 MB at most; all else does not depend on the number of rows.
const ROWS_MAX: u64 = 10_000_000;

/// Rows between two looks of the progress bar.
const PROGRESS_ROWS: usize = 1_000;

/// A file without a bad row.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) what: What,
    pub(super) rows: u64,
    /// What tells the file from any other.
    pub(super) digest: String,
}

/// Reads all of a file.
///
/// # Errors
/// The header is none, or [`BadRows`].
pub(super) fn check(bytes: Bytes) -> anyhow::Result<Checked> {
    let mut table = Table::open(bytes)?;
    let what = table.columns.what;
    let progress = Progress::counting("rows checked");
    let (mut bad, mut names) = (BadRows::default(), Names::default());
    let mut rows = 0;
    loop {
        let read = match table.next() {
            Ok(None) => break,
            Ok(Some(read)) => read,
            Err(problem) => {
                bad.add(problem);
                bad.cut_short("the rest of the file could not be read");
                break;
            }
        };
        rows += 1;
        if rows > ROWS_MAX {
            let why = format!("a file must have at most {ROWS_MAX} rows; split it");
            bad.add(Problem::of_row(read.line, why));
            bad.cut_short("the rest of the file was not read");
            break;
        }
        match read.row {
            Ok(row) => names.add(&row, what, read.line),
            Err(problems) => problems.into_iter().for_each(|problem| bad.add(problem)),
        }
        if rows.is_multiple_of(PROGRESS_ROWS as u64) {
            progress.advance(PROGRESS_ROWS);
        }
    }
    progress.advance((rows % PROGRESS_ROWS as u64) as usize);
    progress.finish();
    names.tell(&mut bad);
    bad.into_result()?;
    Ok(Checked {
        what,
        rows,
        digest: table.digest(),
    })
}

/// What rows name, to find what comes twice: of each a digest of 96 bits above the line,
/// of 32. That two names of ten million share a digest happens once in 10^15 files.
#[derive(Default)]
struct Names(Vec<u128>);

const LINE_BITS: u32 = u32::BITS;

impl Names {
    fn add(&mut self, row: &Row, what: What, line: u64) {
        let Some((sku, location)) = row.key(what) else {
            return;
        };
        let mut digest = Sha256::new();
        digest.update(sku);
        // No name has it.
        digest.update([0]);
        digest.update(location);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        let name = u128::from_le_bytes(bytes) << LINE_BITS;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.0.push(name | u128::from(line));
    }

    /// Tells of all but the first that have the same name.
    fn tell(mut self, bad: &mut BadRows) {
        self.0.sort_unstable();
        let mut first: Option<u128> = None;
        for entry in self.0 {
            match first {
                Some(first) if first >> LINE_BITS == entry >> LINE_BITS => bad.add(Problem {
                    line: u64::from(entry as u32),
                    column: "sku".to_owned(),
                    why: format!("must come once, is in line {} already", first as u32),
                }),
                _ => first = Some(entry),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;

    /// What is said of a bad file, but for the number of problems.
    fn told(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("levels.csv");
        std::fs::write(&path, text).unwrap();
        let bytes = Source::open(&path).unwrap().again().unwrap();
        let error = check(bytes).expect_err("bad rows").to_string();
        error.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn a_row_is_told_by_its_line_whatever_ends_lines() {
        let file = "sku,on_hand,note\na,1,\nb,two,\nc,3,\"two\nlines\"\nd\na,6,\n";
        let expected = [
            "  line 3, on_hand: must be -1000000000 to 1000000000000, is \"two\"",
            "  line 6: must have 3 cells, has 1",
            "  line 7, sku: must come once, is in line 2 already",
        ];
        assert_eq!(told(file), expected);
        assert_eq!(told(&file.replace('\n', "\r\n")), expected);
        // The rest of the file cannot be read where a quote is left open.
        let open = format!("sku,note,on_hand\r\na,\"{}", "b,c\r\n".repeat(100_000));
        assert!(told(&open)[0].starts_with("  line 2: "));
        let open = told("sku,on_hand,note\n\na,1,\"x\nb,two,y\n");
        assert_eq!(open[0], "  line 3: a quote is left open");
    }
}
