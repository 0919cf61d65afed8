//! Points in time.

/// Microseconds since 1970-01-01T00:00:00Z.
///
/// Both databases keep it as the same integer, so nothing is rounded or
/// shifted on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    pub fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds since the epoch.
    pub fn us(self) -> i64 {
        self.0
    }
}
