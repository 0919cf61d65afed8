//! An error and what lies beneath it, as text.

use std::iter::{once, successors};

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    in_one_line(once(error.to_string()).chain(causes(error)))
}

/// What lies beneath an error, one below the other.
pub(crate) fn causes(error: &dyn std::error::Error) -> impl Iterator<Item = String> {
    successors(error.source(), |cause| cause.source()).map(ToString::to_string)
}

/// The messages of an error and its causes. Some libraries repeat a cause in their own
/// message, which is then left out.
pub(crate) fn in_one_line(messages: impl Iterator<Item = String>) -> String {
    let text = messages.reduce(|text, cause| {
        if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    });
    text.unwrap_or_default()
}
