//! How many units an order line takes.

use super::Invalid;

/// Units of one order line: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

impl Quantity {
    /// Most units of one line.
    pub const UNITS_MAX: i64 = 1_000_000;

    /// Checks and wraps.
    ///
    /// # Errors
    /// Names the bound that `units` breaks.
    pub fn new(units: i64) -> Result<Self, Invalid> {
        if (1..=Self::UNITS_MAX).contains(&units) {
            Ok(Self(units))
        } else {
            Err(Invalid(format!(
                "must be 1 to {}, is {units}",
                Self::UNITS_MAX
            )))
        }
    }

    /// The number of units.
    pub fn units(self) -> i64 {
        self.0
    }
}
