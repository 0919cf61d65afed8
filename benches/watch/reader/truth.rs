//! The truth that a reader is told in the end: every version of the watched levels.
//!
//! A file with a line for each version: SKU, version, units on hand, units reserved,
//! and when it was made, in microseconds of 1970, with `|` in between.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use stockroom::client::history::Ledger;
use stockroom::client::proto::Movement;

/// The location of all stock of a load.
pub(super) const LOCATION: &str = "main";

/// What is known of the levels, by SKU: watchers of one level shall not look through
/// all others.
pub(super) type Truth = HashMap<String, Level>;

/// All versions of one level.
#[derive(Default)]
pub(super) struct Level {
    pub(super) ledger: Ledger,
    /// Version and when it was made, ascending.
    pub(super) made: Vec<(i64, i64)>,
}

/// Reads the file.
///
/// # Errors
/// It cannot be read or has another form.
pub(super) fn read(path: &Path) -> anyhow::Result<Truth> {
    let mut levels = Truth::new();
    for line in fs::read_to_string(path)?.lines() {
        let (movement, made_us) = parse(line).with_context(|| line.to_owned())?;
        let level = levels.entry(movement.sku.clone()).or_default();
        level.ledger.movement(&movement);
        level.made.push((movement.version, made_us));
    }
    for level in levels.values_mut() {
        level.made.sort_unstable();
    }
    Ok(levels)
}

/// Reads the file into one ledger, for whoever watches everything.
///
/// # Errors
/// It cannot be read or has another form.
pub(super) fn read_whole(path: &Path) -> anyhow::Result<Ledger> {
    let mut ledger = Ledger::default();
    for line in fs::read_to_string(path)?.lines() {
        let (movement, _) = parse(line).with_context(|| line.to_owned())?;
        ledger.movement(&movement);
    }
    Ok(ledger)
}

/// A version, and when it was made.
fn parse(line: &str) -> anyhow::Result<(Movement, i64)> {
    let fields: Vec<&str> = line.split('|').collect();
    let [sku, version, on_hand, reserved, made_us] = fields[..] else {
        bail!("the truth has a line of another form");
    };
    let movement = Movement {
        sku: sku.to_owned(),
        location: LOCATION.to_owned(),
        version: version.parse()?,
        on_hand: on_hand.parse()?,
        reserved: reserved.parse()?,
        ..Movement::default()
    };
    Ok((movement, made_us.parse()?))
}
