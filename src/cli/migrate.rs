//! `stockroom migrate`.

use std::process::ExitCode;

use anyhow::Context;

use super::print::print;
use crate::config::Config;
use crate::storage::{Access, Store};

/// Bring the database's schema up to date
///
/// Takes the steps that the database is missing, each in a transaction of its
/// own, and does nothing when there is none. Two that run at once wait for each
/// other. `serve` waits while the schema is behind, and answers STORE_UNAVAILABLE
/// until it is not; on SQLite it migrates by itself (store.migrate_at_start). On a
/// schema that it does not know, a later release's, it ends with an error.
///
/// Examples:
///
///   # ./stockroom.db
///   stockroom migrate
///
///   # PostgreSQL, as the role that `serve` connects as: one that did not make the tables
///   # sees none of them, and waits for ever
///   stockroom migrate --store-url postgres://stockroom:secret@db/stockroom
///
///   # After a failover or a restore that may have lost commits; docs/failover.md
///   stockroom migrate --new-store-id --store-url postgres://stockroom:secret@db-2/stockroom
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct MigrateArgs {
    /// Give the store a new id, so that watchers forget what they saw of it
    #[arg(long)]
    new_store_id: bool,
}

pub(super) async fn run(args: MigrateArgs, config: Config) -> anyhow::Result<ExitCode> {
    let store = Store::open(&config.store, Access::Write).await?;
    let done = store.migrate().await.context("cannot migrate")?;
    let renewed = match args.new_store_id {
        true => Some(
            store
                .renew_store_id()
                .await
                .context("cannot renew the id")?,
        ),
        false => None,
    };
    store.close().await;
    let missing = match done {
        0 => String::new(),
        1 => "; 1 step was missing".to_owned(),
        _ => format!("; {done} steps were missing"),
    };
    let renewed = renewed.map(|(old, new)| format!("the store is {new} now; it was {old}"));
    let done = format!("the schema is up to date{missing}");
    print(std::iter::once(done).chain(renewed))?;
    Ok(ExitCode::SUCCESS)
}
