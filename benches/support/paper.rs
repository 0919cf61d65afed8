//! What people read in the end: tables on the terminal, and as Markdown for
//! docs/performance.md; where the rest is; and whether anything was wrong.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use comfy_table::{Table, presets};

/// Tables, and what it takes to understand them.
pub(crate) struct Paper {
    preface: Vec<String>,
    tables: Vec<(&'static str, Table)>,
}

impl Paper {
    /// With a preface of these lines. Tables without rows are left out.
    pub(crate) fn new<const N: usize>(
        preface: Vec<String>,
        tables: [(&'static str, Table); N],
    ) -> Self {
        let tables = tables.into_iter();
        let tables = tables.filter(|(_, table)| table.row_count() > 0).collect();
        Self { preface, tables }
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        println!("\n{}", self.preface.join("\n"));
        for (title, table) in &self.tables {
            let mut table = table.clone();
            table.load_preset(presets::NOTHING);
            println!("\n{title}\n\n{}", table.trim_fmt());
        }
    }

    /// Writes it as Markdown.
    ///
    /// # Errors
    /// The file cannot be written.
    fn write_markdown(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = self.preface.join("  \n");
        for (title, table) in &self.tables {
            let mut table = table.clone();
            table.load_preset(presets::ASCII_MARKDOWN);
            write!(text, "\n\n### {title}\n\n{table}")?;
        }
        fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }

    /// Writes it to `markdown`, if that is asked for, and says what has been written
    /// altogether, how long all of it took, and what was wrong.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn end(
        &self,
        mut written: Vec<PathBuf>,
        markdown: Option<PathBuf>,
        began: Instant,
        problems: &[String],
    ) -> anyhow::Result<ExitCode> {
        if let Some(path) = markdown {
            self.write_markdown(&path)?;
            written.push(path);
        }
        Ok(end(&written, began, problems))
    }
}

fn end(written: &[PathBuf], began: Instant, problems: &[String]) -> ExitCode {
    println!();
    for path in written {
        println!("{} written", path.display());
    }
    println!("all of it took {} s", began.elapsed().as_secs());
    for problem in problems {
        eprintln!("WRONG: {problem}");
    }
    if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
