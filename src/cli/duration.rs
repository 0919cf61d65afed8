//! How lengths of time are written on the command line.

use prost_types::Duration;

/// What a unit is called, and how many milliseconds it has. `ms` comes before `m` and `s`.
const UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const EXPECTED: &str = "write a length of time such as 90s, 15m, 1h30m or 7d";

/// `15m` or `1h30m`; the server says what is too long or too short.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let mut rest = text;
    let mut milliseconds: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
        let (number, behind) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| EXPECTED)?;
        let unit = UNITS.iter().find(|(unit, _)| behind.starts_with(unit));
        let (unit, length) = unit.ok_or(EXPECTED)?;
        milliseconds = number
            .checked_mul(*length)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or(EXPECTED)?;
        rest = &behind[unit.len()..];
    }
    if text.is_empty() {
        return Err(EXPECTED);
    }
    Ok(Duration {
        seconds: milliseconds / 1_000,
        nanos: (milliseconds % 1_000) as i32 * 1_000_000,
    })
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

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
}
