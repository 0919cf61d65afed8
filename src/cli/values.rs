//! How values are written on the command line: levels, labels, lengths of time, numbers.

use std::collections::BTreeMap;
use std::convert::Infallible;

use anyhow::bail;
use prost_types::Duration;

use crate::client::proto::StockKey;

/// What a unit is called, and how many milliseconds it has. `ms` comes before `m` and `s`.
const TIME_UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const TIME_EXPECTED: &str = "write a length of time such as 90s, 15m, 1h30m or 7d";

/// `SKU[@LOCATION]`; the server says what is wrong with it.
pub(super) fn parse_level(text: &str) -> Result<StockKey, Infallible> {
    let (sku, location) = text.split_once('@').unwrap_or((text, ""));
    Ok(StockKey {
        sku: sku.to_owned(),
        location: location.to_owned(),
    })
}

/// `KEY=VALUE`.
pub(super) fn parse_label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Labels by their keys.
///
/// # Errors
/// A key comes twice: one of its values would be lost.
pub(super) fn labels(given: Vec<(String, String)>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        if labels.contains_key(&key) {
            bail!("--label {key} must come once");
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// `15m` or `1h30m`; the server says what is too long or too short.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let mut rest = text;
    let mut milliseconds: i64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(TIME_EXPECTED)?;
        let (number, behind) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| TIME_EXPECTED)?;
        let unit = TIME_UNITS.iter().find(|(unit, _)| behind.starts_with(unit));
        let (unit, length) = unit.ok_or(TIME_EXPECTED)?;
        milliseconds = number
            .checked_mul(*length)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or(TIME_EXPECTED)?;
        rest = &behind[unit.len()..];
    }
    if text.is_empty() {
        return Err(TIME_EXPECTED);
    }
    Ok(Duration {
        seconds: milliseconds / 1_000,
        nanos: (milliseconds % 1_000) as i32 * 1_000_000,
    })
}

/// A number from 0 to `MAX`.
pub(super) fn parse_number<const MAX: u32>(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=f64::from(MAX)).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from 0 to {MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_comes_twice_is_named_and_none_is_lost() {
        let given = |texts: &[&str]| {
            let texts = texts.iter().map(|text| parse_label(text).unwrap());
            labels(texts.collect())
        };
        let two = given(&["channel=web", "shop=york"]).unwrap();
        assert_eq!((two.len(), &*two["channel"]), (2, "web"));
        for again in ["channel=phone", "channel=web"] {
            let error = given(&["channel=web", "shop=york", again]).expect_err(again);
            assert_eq!(error.to_string(), "--label channel must come once");
        }
    }

    #[test]
    fn lengths_of_time_have_units() {
        let parsed = |text| parse_duration(text).map(|d| (d.seconds, d.nanos)).ok();
        assert_eq!(parsed("90s"), Some((90, 0)));
        assert_eq!(parsed("15m"), Some((900, 0)));
        assert_eq!(parsed("1h30m"), Some((5_400, 0)));
        assert_eq!(parsed("7d"), Some((604_800, 0)));
        assert_eq!(parsed("1500ms"), Some((1, 500_000_000)));
        assert_eq!(parsed("0s"), Some((0, 0)));
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "15",
            "m",
            "-1s",
            "1.5h",
            "1 h",
            "1w",
            "9223372036854775807d",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_is_taken_at_its_bounds_and_refused_beyond() {
        for (text, number) in [("0", 0.0), ("0.97", 0.97), ("1000", 1_000.0)] {
            assert_eq!(parse_number::<1_000>(text), Ok(number));
        }
        for text in ["-0.1", "1000.1", "NaN", "inf", "half", ""] {
            let refused = parse_number::<1_000>(text);
            assert_eq!(refused, Err("must be a number from 0 to 1000".to_owned()));
        }
    }
}
