//! `stockroom watch`: stock as it changes, in a terminal.

use std::io;
use std::process::ExitCode;

use super::address::Address;
use super::print::{escaped, print, tell, time};
use super::shutdown;
use super::values::parse_level;
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
/// What is watched is the union of all that is named. A prefix, a location and
/// --low-only also find levels that do not exist yet.
///
/// Examples:
///
///   # Everything
///   stockroom watch
///
///   # Two products, one of them at another location
///   stockroom watch 85123A 22423@york
///
///   # All of a family of products, and whatever lies in York
///   stockroom watch --sku-prefix 85 --location york
///
///   # What is running low: shown until it no longer is
///   stockroom watch --low-only
///
///   # Every single version of a product, none folded away
///   stockroom watch --every-change 85123A
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct WatchArgs {
    /// Levels to watch; the location is main unless given. Nothing named: all
    #[arg(value_name = "SKU[@LOCATION]", value_parser = parse_level)]
    levels: Vec<StockKey>,
    /// Watch every level whose SKU begins with this; may be given again
    #[arg(long, value_name = "PREFIX")]
    sku_prefix: Vec<String>,
    /// Watch every level at this location; may be given again
    #[arg(long, value_name = "LOCATION")]
    location: Vec<String>,
    /// Watch every level; what is watched when nothing is named
    #[arg(long)]
    all: bool,
    /// Watch every level that is low, until it no longer is
    #[arg(long)]
    low_only: bool,
    /// Show each version of the levels named, beginning with the present one
    #[arg(long, requires = "levels", conflicts_with_all = ["sku_prefix", "location", "all", "low_only"])]
    every_change: bool,
    #[command(flatten)]
    address: Address,
}

impl WatchArgs {
    fn targets(&self) -> WatchTargets {
        let named = (!self.levels.is_empty()).then(|| WatchTargets::levels(self.levels.clone()));
        let parts = named
            .into_iter()
            .chain(self.sku_prefix.iter().map(WatchTargets::sku_prefix))
            .chain(self.location.iter().map(WatchTargets::location))
            .chain(self.low_only.then(WatchTargets::low_only))
            .chain(self.all.then(WatchTargets::all));
        let targets = parts.reduce(WatchTargets::and);
        let targets = targets.unwrap_or_else(WatchTargets::all);
        if self.every_change {
            targets.every_change()
        } else {
            targets
        }
    }
}

pub(super) async fn run(args: WatchArgs, config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown::requested()?;
    let targets = args.targets();
    let client = args.address.connect(&config, 1).await?;
    let mut watch = client.watch(targets);
    tokio::pin!(shutdown);
    let mut interrupted = false;
    // Until whoever reads has seen enough: `stockroom watch | head`.
    let mut is_read = print([header()])?;
    while is_read {
        let event = tokio::select! {
            event = watch.next() => event?,
            () = &mut shutdown => return Ok(ExitCode::SUCCESS),
        };
        // One line for each outage, however often connecting fails meanwhile.
        let again = matches!(event, WatchEvent::Interrupted { .. });
        if std::mem::replace(&mut interrupted, again) && again {
            continue;
        }
        is_read = show(event)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// False when nobody reads any more.
fn show(event: WatchEvent) -> io::Result<bool> {
    match event {
        WatchEvent::Changes { levels, reset } => {
            return print(levels.iter().map(|level| line(level, reset)));
        }
        WatchEvent::Started { store_id } => {
            tell(escaped(&format!("-- connected to store {store_id}")));
        }
        WatchEvent::Synced => tell("-- up to date"),
        WatchEvent::Heartbeat => {}
        WatchEvent::Goodbye {
            reason,
            reconnect_after,
        } => {
            let reason = reason.as_str_name().trim_start_matches("GOODBYE_REASON_");
            tell(format_args!(
                "-- the server says goodbye ({reason}); reconnecting after {reconnect_after:.1?}"
            ));
        }
        WatchEvent::Interrupted { error, .. } => {
            tell(escaped(&format!("-- {error}; reconnecting")));
        }
    }
    Ok(true)
}

fn header() -> String {
    row("TIME", "SKU", "LOCATION", "ON HAND", "AVAILABLE", "VERSION")
}

/// One level as a line.
fn line(level: &StockLevel, reset: bool) -> String {
    let mut line = row(
        &time(level.update_time.as_ref()),
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
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_level_is_named_by_sku_and_maybe_location() {
        let key = |text| parse_level(text).map(|key| (key.sku, key.location));
        assert_eq!(key("85123A"), Ok(("85123A".into(), String::new())));
        assert_eq!(key("22423@york"), Ok(("22423".into(), "york".into())));
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        watch: WatchArgs,
    }

    fn request(arguments: &[&str]) -> Result<String, clap::error::ErrorKind> {
        let line = Line::try_parse_from([&["watch"], arguments].concat());
        let request = line.map(|line| line.watch.targets().request("", Vec::new()));
        let request = request.map_err(|error| error.kind())?;
        let selectors = request.selectors.iter().filter_map(|s| s.selector.clone());
        let delivery = request.delivery().as_str_name();
        let delivery = delivery.trim_start_matches("WATCH_DELIVERY_");
        Ok(format!("{delivery} {:?}", selectors.collect::<Vec<_>>()))
    }

    #[test]
    fn what_is_named_is_watched_together_and_nothing_named_is_everything() {
        assert_eq!(request(&[]), Ok("LATEST [All(AllLevels)]".to_owned()));
        let flags = ["--sku-prefix=85", "--sku-prefix=22", "--location=york"];
        let patterns = r#"SkuPrefix("85"), SkuPrefix("22"), Location("york")"#;
        assert_eq!(request(&flags), Ok(format!("LATEST [{patterns}]")));
        let low = Ok("LATEST [LowOnly(LowLevels), All(AllLevels)]".to_owned());
        assert_eq!(request(&["--all", "--low-only"]), low);
        let named = r#"Level(StockKey { sku: "a", location: "" })"#;
        let every = Ok(format!("EVERY_CHANGE [{named}]"));
        assert_eq!(request(&["--every-change", "a"]), every);
    }

    #[test]
    fn every_change_is_of_levels_that_are_named() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        let every = request(&["--every-change"]);
        assert_eq!(every, Err(MissingRequiredArgument));
        for pattern in ["--all", "--low-only", "--location=york", "--sku-prefix=85"] {
            let mixed = request(&["--every-change", pattern, "a"]);
            assert_eq!(mixed, Err(ArgumentConflict), "{pattern}");
        }
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
