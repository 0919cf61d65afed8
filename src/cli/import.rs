//! `stockroom import`: products, levels and adjustments from CSV.
//!
//! Three passes over the file, each in bounded memory: every row is checked by itself and
//! against the others; then every SKU is looked up in the store; only then rows are
//! written. What is written carries ids that follow from the file and the row's place in
//! it, so that an import which ended too soon, wherever it was, is gone on with by the
//! same command, and no row is applied twice.

mod check;
mod columns;
mod known;
mod rows;
mod send;
mod source;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::address::Address;
use super::print::{print, tell};
use super::shutdown;
use super::table::grouped;
use crate::config::Config;
use crate::domain::RequestId;
use send::{Changed, End, Sent};
use source::Source;

/// Longest --import-id, in characters: a row's number comes behind it in a `request_id`.
const IMPORT_ID_CHARS_MAX: usize = 64;

/// Read products, levels or adjustments from a CSV file
///
/// The first line names the columns, in any order, and by them what the file has:
///
///   products     sku, display_name, low_stock_threshold, backorder_limit: creates or
///                replaces each product; a column that is left out means its default
///   levels       sku, location, on_hand, note: sets what is on hand, as a COUNT; reserved,
///                available, version and update_time of an export are not looked at
///   adjustments  sku, location, delta, kind, note: adds delta units, in the order of the
///                rows; kind is RECEIVED, RETURNED, DAMAGED, COUNT or CORRECTION
///
/// An on_hand below 0 is owed to orders (backorders), and orders alone bring a level there: a
/// row that takes on_hand below 0, or below what is reserved, is refused when it is written.
///
/// The location is main where it is empty. An exported ledger cannot be imported: what
/// happened is never rewritten. Text is UTF-8, with or without a byte order mark.
///
/// Nothing is written unless every row is good: the whole file is checked first, and what is
/// wrong is told with its line, its column and the bound, the first 1,000 of it. SKUs are
/// looked up in the store once all else is good. Then rows are written in pieces, 500
/// changes or 100 products a call. Of a piece that the store refuses, because less is in
/// stock than a row takes away, the rows before that one are written, and it is told by its
/// line. An import that ended too soon goes on when the same command is run again: what was
/// written is found by its id, which follows from the bytes of the file, and is not written
/// twice. To apply the same file once more, give a new --import-id.
///
/// Examples:
///
///   # What is sold, then what is there
///   stockroom import products.csv
///   stockroom import levels.csv
///
///   # Only tell what is wrong with it
///   stockroom import levels.csv --check
///
///   # From another store: its products, then its levels, with no hold open and no order
///   # coming in there; levels that are below 0 there must be left out, or be 0. Orders, the
///   # ledger and request ids stay behind: the new store begins without them
///   stockroom export products --addr http://old:50051 | stockroom import - --addr http://new:50051
///   stockroom export levels --addr http://old:50051 | stockroom import - --addr http://new:50051
///
///   # Go on with a file that was corrected after a row was refused
///   stockroom import deliveries.csv --import-id 5f3c0a1b9d7e42c8a6b1d2e3f4051627
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ImportArgs {
    /// The file to read; - for standard input, which is copied to a temporary file first
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// What makes this import the same one when it is run again [default: a digest of the file]
    #[arg(long, value_name = "ID", value_parser = parse_import_id)]
    import_id: Option<String>,
    /// Tell what is wrong, and write nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    address: Address,
}

fn parse_import_id(text: &str) -> Result<String, String> {
    RequestId::new(text).map_err(|why| why.to_string())?;
    if text.len() > IMPORT_ID_CHARS_MAX {
        return Err(format!(
            "must have at most {IMPORT_ID_CHARS_MAX} characters"
        ));
    }
    Ok(text.to_owned())
}

pub(super) async fn run(args: ImportArgs, config: Config) -> anyhow::Result<ExitCode> {
    let stop = shutdown::requested()?;
    tokio::pin!(stop);
    let name = args.file.display().to_string();
    let nothing_written = || {
        tell("interrupted; nothing was written");
        Ok(ExitCode::from(shutdown::EXIT_INTERRUPTED))
    };

    // Whoever writes standard input may take as long as they like. A thread that still waits
    // for them when the command ends is left behind, and keeps the process for a second.
    let opening = tokio::task::spawn_blocking(move || Source::open(&args.file));
    let source = tokio::select! {
        source = opening => source?.with_context(|| format!("cannot open {name}"))?,
        () = &mut stop => return nothing_written(),
    };
    // On a thread of its own: it may take minutes and never waits for anything else.
    let file = source.again()?;
    let checking = tokio::task::spawn_blocking(move || check::check(file));
    let checked = tokio::select! {
        checked = checking => checked?.with_context(|| format!("cannot import {name}"))?,
        () = &mut stop => return nothing_written(),
    };
    let client = args.address.connect(&config, 1).await?.retrying();
    if checked.what.needs_products() {
        tokio::select! {
            known = known::check(&client, source.again()?) => {
                known.with_context(|| format!("cannot import {name}"))?;
            }
            () = &mut stop => return nothing_written(),
        }
    }
    let rows = grouped(checked.rows);
    let what = checked.what.name();
    if args.check {
        print([format!(
            "{name}: {rows} rows of {what}, all good; nothing was written"
        )])?;
        return Ok(ExitCode::SUCCESS);
    }
    let import_id = args.import_id.unwrap_or_else(|| checked.digest.clone());
    tell(format_args!(
        "{name}: {rows} rows of {what}, import {import_id}"
    ));
    let sent = send::send(&client, source.again()?, &checked, &import_id, stop).await?;
    ended(sent, &format!("{rows} rows of {what}"), &import_id)
}

/// Says how it ended, and how to go on where it did too soon.
fn ended(sent: Sent, rows: &str, import_id: &str) -> anyhow::Result<ExitCode> {
    let (now, before) = (grouped(sent.written), grouped(sent.replayed));
    let imported = format!("{now} rows were imported now and {before} before");
    match sent.end {
        End::Complete => {
            print([format!("{rows}: {now} imported now, {before} before")])?;
            if sent.written == 0 && sent.replayed > 0 {
                tell("to apply them once more, give a new --import-id");
            }
            Ok(ExitCode::SUCCESS)
        }
        End::Interrupted => {
            tell(format_args!("interrupted; {imported}"));
            tell("the same command goes on");
            Ok(ExitCode::from(shutdown::EXIT_INTERRUPTED))
        }
        End::Refused(bad) => {
            tell(imported);
            tell(format_args!(
                "correct the row where it stands and go on with --import-id {import_id}"
            ));
            Err(anyhow::Error::new(bad).context("the import is not complete"))
        }
        // By its bytes it is another import now, which would apply all rows once more.
        End::Failed(error) if error.is::<Changed>() => {
            tell(imported);
            tell(format_args!(
                "to apply none of them twice, go on with --import-id {import_id}"
            ));
            Err(error.context("the import is not complete"))
        }
        End::Failed(error) => {
            tell(imported);
            Err(error.context("the import is not complete; the same command goes on"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sheet::bad::SHOWN_MAX;

    #[test]
    fn the_help_says_how_much_of_what_is_wrong_is_told() {
        let command = clap::Command::new("import");
        let mut command = <ImportArgs as clap::Args>::augment_args(command);
        let help = command.render_long_help().to_string();
        let words: Vec<&str> = help.split_whitespace().collect();
        let shown = format!("the first {} of it", grouped(SHOWN_MAX as u64));
        assert!(words.join(" ").contains(&shown), "{help}");
    }
}
