//! Reads of levels.

use super::{LevelKey, Version};

/// A level to read and the lowest version that will do: none asks the primary, 0 takes
/// any source.
pub type KeyToRead = (LevelKey, Option<Version>);

/// Where levels were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedFrom {
    /// The database that is written to: as of now.
    Primary,
    /// A read replica of it.
    Replica,
    /// The cache.
    Cache,
}
