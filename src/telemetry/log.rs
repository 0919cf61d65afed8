//! The log: its form, its filter, its start.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Would write a line for each attempt to connect that meets a standby, dozens a second. What is
/// wrong with a new connection is said where it is found (`storage`), within bounds.
const SILENCED: &str = "sqlx_core::pool::inner=off";

/// Starts logging to stderr, which leaves stdout to what a command prints.
///
/// # Errors
/// The filter cannot be parsed, or the process logs already.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .context("log.filter cannot be parsed")?
        .add_directive(SILENCED.parse()?);
    let on_terminal = std::io::stderr().is_terminal();
    let pretty = match config.format {
        LogFormat::Auto => on_terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be said on stderr, by a macro that panics where nobody reads that.
        .log_internal_errors(false);
    let started = if pretty {
        // `NO_COLOR` is honoured: colours are only ever switched off here.
        let log = log.compact();
        if on_terminal {
            log.try_init()
        } else {
            log.with_ansi(false).try_init()
        }
    } else {
        log.json().flatten_event(true).try_init()
    };
    started.map_err(|e| anyhow::anyhow!(e).context("cannot start logging"))
}
