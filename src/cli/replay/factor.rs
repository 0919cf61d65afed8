//! Opening stock as a part of what a file takes.

use std::str::FromStr;

/// Largest factor.
const MAX: u64 = 1_000;

/// Places behind the point.
const PLACES: usize = 6;

/// Of the last place in one.
const UNIT: u64 = 10_u64.pow(PLACES as u32);

/// A decimal number as it is written, so that no unit comes of rounding to binary places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor {
    millionths: u64,
}

impl Factor {
    /// So many times `units`, which are not below 0; rounded up.
    pub(super) fn of(self, units: i64) -> u128 {
        let millionths = u128::from(units.unsigned_abs()) * u128::from(self.millionths);
        millionths.div_ceil(u128::from(UNIT))
    }
}

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let digits = [whole, places].concat();
        let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match format!("{whole}{places:0<PLACES$}").parse() {
            Ok(millionths) if is_decimal && places.len() <= PLACES && millionths <= MAX * UNIT => {
                Ok(Self { millionths })
            }
            _ => Err(format!(
                "must be a decimal number from 0 to {MAX} with at most {PLACES} places"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_exact_and_rounded_up() {
        for (factor, units, stock) in [
            ("0.07", 100, 7),
            ("0.071", 100, 8),
            ("1", 3_409, 3_409),
            ("0.000001", 1, 1),
            (".5", 3, 2),
            ("1000", i64::MAX, 1_000 * i64::MAX as u128),
            ("0", 5, 0),
        ] {
            let factor: Factor = factor.parse().expect("a factor");
            assert_eq!(factor.of(units), stock);
        }
    }

    #[test]
    fn what_is_no_decimal_or_beyond_a_bound_is_refused() {
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1.+5",
            "1.2.3",
            "NaN",
            "1e-3",
            "1000.1",
            "0.0000001",
        ] {
            let why = text.parse::<Factor>().expect_err(text);
            assert!(
                why.contains("from 0 to 1000 with at most 6 places"),
                "{why}"
            );
        }
    }
}
