//! `stockroom watch`: stock as it changes, in a terminal.

use std::io::{self, Write};
use std::process::ExitCode;

use super::address::Address;
use super::shutdown;
use crate::client::proto::{StockKey, StockLevel};
use crate::client::{WatchEvent, WatchTargets};
use crate::config::Config;

/// Show stock as it changes
///
/// Prints a line for each level as it is now, and another one for each change of
/// it, until Ctrl-C. Changes that follow each other closely may be folded into
/// one; the last value always comes. When the connection is lost the watch
/// connects again and goes on from the last versions it saw: nothing is shown
/// twice and no last value is missed. What happens to the connection is said on
/// stderr.
///
/// Examples:
///
///   # Everything
///   stockroom watch
///
///   # Two products, one of them at another location
///   stockroom watch 85123A 22423@york
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct WatchArgs {
    /// Levels to watch; the location is main unless given. None: all
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level)]
    levels: Vec<StockKey>,
    #[command(flatten)]
    address: Address,
}

fn parse_level(text: &str) -> Result<StockKey, std::convert::Infallible> {
    let (sku, location) = text.split_once('@').unwrap_or((text, ""));
    Ok(StockKey {
        sku: sku.to_owned(),
        location: location.to_owned(),
    })
}

pub(super) async fn run(args: WatchArgs, config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown::requested()?;
    let targets = if args.levels.is_empty() {
        WatchTargets::all()
    } else {
        WatchTargets::levels(args.levels)
    };
    let client = args.address.connect(&config, 1).await?;
    let mut watch = client.watch(targets);
    println!("{}", header());
    tokio::pin!(shutdown);
    let mut interrupted = false;
    loop {
        let event = tokio::select! {
            event = watch.next() => event?,
            () = &mut shutdown => return Ok(ExitCode::SUCCESS),
        };
        // One line for each outage, however often connecting fails meanwhile.
        let again = matches!(event, WatchEvent::Interrupted { .. });
        if std::mem::replace(&mut interrupted, again) && again {
            continue;
        }
        match show(event) {
            // Whoever reads has seen enough: `stockroom watch | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            shown => shown?,
        }
    }
}

fn show(event: WatchEvent) -> io::Result<()> {
    match event {
        WatchEvent::Changes { levels, reset } => {
            let mut out = io::stdout().lock();
            for level in &levels {
                writeln!(out, "{}", line(level, reset))?;
            }
            out.flush()?;
        }
        WatchEvent::Started { store_id } => eprintln!("-- connected to store {store_id}"),
        WatchEvent::Synced => eprintln!("-- up to date"),
        WatchEvent::Heartbeat => {}
        WatchEvent::Goodbye {
            reason,
            reconnect_after,
        } => {
            let reason = reason.as_str_name().trim_start_matches("GOODBYE_REASON_");
            eprintln!(
                "-- the server says goodbye ({reason}); reconnecting after {reconnect_after:.1?}"
            );
        }
        WatchEvent::Interrupted { error, .. } => eprintln!("-- {error}; reconnecting"),
    }
    Ok(())
}

fn header() -> String {
    row("TIME", "SKU", "LOCATION", "ON HAND", "AVAILABLE", "VERSION")
}

/// One level as a line.
fn line(level: &StockLevel, reset: bool) -> String {
    let time = level
        .update_time
        .map_or_else(|| "-".to_owned(), |time| time.to_string());
    let mut line = row(
        &time,
        &level.sku,
        &level.location,
        &level.on_hand.to_string(),
        &level.available.to_string(),
        &level.version.to_string(),
    );
    if level.low_stock {
        line += "  LOW";
    }
    if reset {
        line += "  RESET";
    }
    line
}

fn row(
    time: &str,
    sku: &str,
    location: &str,
    on_hand: &str,
    available: &str,
    version: &str,
) -> String {
    format!("{time:<27}  {sku:<16}  {location:<10}  {on_hand:>10}  {available:>10}  {version:>9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_named_by_sku_and_maybe_location() {
        let key = |text| parse_level(text).map(|key| (key.sku, key.location));
        assert_eq!(key("85123A"), Ok(("85123A".into(), String::new())));
        assert_eq!(key("22423@york"), Ok(("22423".into(), "york".into())));
    }

    #[test]
    fn a_low_level_says_so() {
        let level = StockLevel {
            sku: "85123A".into(),
            low_stock: true,
            ..StockLevel::default()
        };
        assert!(line(&level, false).ends_with("  LOW"));
    }
}
