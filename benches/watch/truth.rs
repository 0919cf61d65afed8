//! What really happened, for the reader to compare with: a file that `reader::truth`
//! reads.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tokio::runtime::Runtime;

use crate::reader::sku;
use crate::support::stores::{Database, sql};

/// Writes every version of the first `levels` products to `path`. SQLite has no client
/// here to ask for its ledger: of its levels only the last versions are written.
///
/// # Errors
/// The database failed, or the file cannot be written.
pub(crate) fn write(
    database: &Database,
    runtime: &Runtime,
    levels: usize,
    path: &Path,
) -> anyhow::Result<()> {
    let last = sku(levels.saturating_sub(1));
    let text = match database {
        Database::Postgres(postgres) => {
            let columns = "sku, version, on_hand, reserved, time_us";
            let movements = format!("SELECT {columns} FROM movement WHERE sku <= '{last}'");
            sql(&postgres.url, &movements)?
        }
        Database::Sqlite(_) => {
            let mut text = String::new();
            for level in runtime.block_on(database.levels())? {
                let (sku, version) = (level.key.sku.as_str(), level.version.number());
                if sku <= last.as_str() {
                    let (on_hand, reserved) = (level.on_hand, level.reserved);
                    let made_us = level.updated.us();
                    writeln!(text, "{sku}|{version}|{on_hand}|{reserved}|{made_us}")?;
                }
            }
            text
        }
    };
    Ok(fs::write(path, text)?)
}
