//! A level as it was at one version, shared by everybody who is told of it.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::domain::StockLevel;

/// One value of one level.
#[derive(Debug)]
pub(crate) struct Update {
    /// The value.
    pub level: StockLevel,
    /// How the edge writes it, made by whoever needs it first.
    wire: OnceLock<Bytes>,
}

impl Update {
    /// A value that nobody has written yet.
    pub(crate) fn new(level: StockLevel) -> Self {
        let wire = OnceLock::new();
        Self { level, wire }
    }

    /// The bytes of this value: `encode` runs once, however many streams send
    /// them. The feed does not know what they say.
    pub(crate) fn wire(&self, encode: impl FnOnce(&StockLevel) -> Bytes) -> Bytes {
        self.wire.get_or_init(|| encode(&self.level)).clone()
    }
}
