//! What every text for people must be.

use super::Invalid;

/// The bounds that a text of at most `bytes_max` bytes breaks.
pub fn text_faults(text: &str, bytes_max: usize) -> impl Iterator<Item = Invalid> {
    let bytes = text.len();
    let too_long = (bytes > bytes_max)
        .then(|| Invalid(format!("must have at most {bytes_max} bytes, has {bytes}")));
    // PostgreSQL cannot store it.
    let has_nul = text.contains('\0');
    let has_nul = has_nul.then(|| Invalid("must not contain the character U+0000".to_owned()));
    too_long.into_iter().chain(has_nul)
}
