//! `stockroom config`.

use std::process::ExitCode;

use super::print::print_raw;
use crate::config::{Loaded, markdown_table};

/// Print the configuration in force and where each value comes from
///
/// Values come from, weakest first: defaults, a TOML file (`--config FILE`, or
/// the one that STOCKROOM_CONFIG names, or stockroom.toml in the working directory), environment variables, flags.
/// Whatever is wrong with them is reported at once, by every command, with exit
/// code 2. Passwords are hidden.
///
/// Examples:
///
///   # What is in force here?
///   stockroom config
///
///   # The same key in the environment, as a flag, and in a file
///   STOCKROOM_ENGINE_BATCH_ORDERS_MAX=1 stockroom config
///   stockroom config --set engine.batch_orders_max=1
///   printf '[engine]\nbatch_orders_max = 1\n' > stockroom.toml
///
///   # Every key with its default, range and meaning
///   stockroom config --markdown
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ConfigArgs {
    /// Print every key with its default, range and meaning as a Markdown table
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &ConfigArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let text = if args.markdown {
        markdown_table()
    } else {
        loaded.to_toml()
    };
    print_raw(text.lines().map(str::to_owned))?;
    Ok(ExitCode::SUCCESS)
}
