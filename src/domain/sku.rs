//! Names of goods and of places.

use std::fmt;
use std::sync::Arc;

use super::Invalid;

/// Longest SKU or location, in characters (all of them one byte).
const NAME_CHARS_MAX: usize = 64;

/// A stock-keeping unit: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, case kept.
///
/// Sorts by bytes, as the database does (`COLLATE "C"`). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sku(Arc<str>);

/// Where stock lies. Same shape as a [`Sku`]; `main` unless given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(Arc<str>);

fn check(text: &str) -> Result<(), Invalid> {
    // The alphabet first: in it a character is a byte.
    if let Some(c) = text.chars().find(|c| !is_name_char(*c)) {
        return Err(Invalid(format!("must be of A-Z a-z 0-9 . _ -, has {c:?}")));
    }
    if text.is_empty() || text.len() > NAME_CHARS_MAX {
        return Err(Invalid(format!(
            "must have 1 to {NAME_CHARS_MAX} characters, has {}",
            text.len()
        )));
    }
    Ok(())
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl Sku {
    /// Checks and wraps.
    ///
    /// # Errors
    /// Names the bound that `text` breaks.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Invalid> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// Checks the beginning of a SKU; an empty one fits every SKU.
    ///
    /// # Errors
    /// Names the bound that `text` breaks.
    pub fn check_prefix(text: &str) -> Result<(), Invalid> {
        if text.is_empty() { Ok(()) } else { check(text) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Location {
    /// What an empty location means.
    pub const MAIN: &'static str = "main";

    /// Checks and wraps; empty means [`Location::MAIN`].
    ///
    /// # Errors
    /// Names the bound that `text` breaks.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text = if text.is_empty() { Self::MAIN } else { text };
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}
shown_as_text!(Sku, Location);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_is_bounded_in_length_and_alphabet() {
        for good in ["85123A", "85123a", "a.b_c-d", &"x".repeat(64)] {
            assert_eq!(Sku::new(good).expect("valid").as_str(), good);
        }
        for bad in ["", &"x".repeat(65), "BANK CHARGES", "grün", "a/b"] {
            assert!(Sku::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_empty_location_means_main() {
        assert_eq!(Location::new("").expect("valid").as_str(), "main");
    }

    #[test]
    fn skus_sort_by_bytes() {
        let mut skus = ["85123a", "85123A", "85123-"].map(|s| Sku::new(s).expect("valid"));
        skus.sort();
        assert_eq!(skus.map(|s| s.to_string()), ["85123-", "85123A", "85123a"]);
    }
}
