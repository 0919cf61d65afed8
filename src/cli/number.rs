//! Numbers on the command line that need not be whole.

/// A number from 0 to `MAX`.
pub(super) fn parse_number<const MAX: u32>(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=f64::from(MAX)).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from 0 to {MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_number;

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
