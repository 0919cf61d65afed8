//! The flags that set configuration; every command takes them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{ConfigErrors, DEFAULT_FILE, FILE_VARIABLE, Flag, Loaded, Sources, load};

/// Flags beat `STOCKROOM_SECTION_KEY` variables, which beat the file, which beats the defaults.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration (stockroom config --help says more)")]
pub(super) struct ConfigOptions {
    /// TOML file to read [default: the one that STOCKROOM_CONFIG names, else stockroom.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any key, such as engine.batch_orders_max=1; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = parse_assignment)]
    assignments: Vec<(String, String)>,
    /// Address to serve on: server.listen
    #[arg(long, global = true, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Database: store.url
    #[arg(long, global = true, value_name = "URL")]
    store_url: Option<String>,
    /// What to log, such as debug or info,stockroom=debug: log.filter
    #[arg(long, global = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

fn parse_assignment(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write SECTION.KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl ConfigOptions {
    /// Loads the configuration with these flags on top.
    pub(super) fn load(
        self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        let environment: Vec<_> = environment.collect();
        let named = environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = named.map(|(_, file)| PathBuf::from(file));
        let in_working_directory = Path::new(DEFAULT_FILE);
        let file = self.config.or(named).or_else(|| {
            in_working_directory
                .exists()
                .then(|| in_working_directory.to_owned())
        });
        let flag = |name: &str, key: &str, value: String| Flag {
            name: name.to_owned(),
            key: key.to_owned(),
            value,
        };
        let assigned = self.assignments.into_iter();
        let assigned = assigned.map(|(key, value)| flag("--set", &key, value));
        let named = [
            ("--listen", "server.listen", self.listen),
            ("--store-url", "store.url", self.store_url),
            ("--log-filter", "log.filter", self.log_filter),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, key, value)| value.map(|value| flag(name, key, value)));
        load(&Sources {
            file,
            environment,
            flags: assigned.chain(named).collect(),
        })
    }
}
