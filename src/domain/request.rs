//! The caller's key for a write, and the fingerprint of what it asked for.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Invalid;

/// Longest request id, in characters (all of them one byte).
const REQUEST_ID_CHARS_MAX: usize = 128;

/// The caller's key that makes a retry safe: 1 to 128 printable ASCII
/// characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Checks and wraps.
    ///
    /// # Errors
    /// Names the bound that `text` breaks.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, Invalid> {
        let text = text.into();
        // The alphabet first: in it a character is a byte.
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(Invalid(format!(
                "must be printable ASCII without spaces, has {c:?}"
            )));
        }
        if text.is_empty() || text.len() > REQUEST_ID_CHARS_MAX {
            return Err(Invalid(format!(
                "must have 1 to {REQUEST_ID_CHARS_MAX} characters, has {}",
                text.len()
            )));
        }
        Ok(Self(text))
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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 16 bytes of the SHA-256 of a request's canonical payload.
///
/// Two requests with one id and one fingerprint are the same request. The
/// bytes are stored, so the canonical form must never change for payloads that
/// exist: a new field is written only when it is not at its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// From the stored bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Writes the canonical payload: a tag, a length and the bytes of each field
/// that is not at its default, in the order of the tags.
#[derive(Default)]
pub(super) struct Canonical(Sha256);

impl Canonical {
    pub(super) fn new(kind: &str) -> Self {
        let mut this = Self::default();
        this.text(0, kind);
        this
    }

    pub(super) fn text(&mut self, tag: u8, text: &str) {
        if !text.is_empty() {
            self.0.update([tag]);
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text.as_bytes());
        }
    }

    /// A number that has been given, whatever its value.
    pub(super) fn number(&mut self, tag: u8, number: i64) {
        self.0.update([tag]);
        self.0.update(number.to_le_bytes());
    }

    pub(super) fn finish(self) -> Fingerprint {
        let hash = self.0.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Fingerprint(bytes)
    }
}
