//! Where results go.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

/// In the folder that cargo builds to.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../bench");

/// The folder of everything that is written, made if it is not there.
///
/// # Errors
/// It cannot be made.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    // The path goes through this one.
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"))?;
    fs::create_dir_all(FOLDER)?;
    Path::new(FOLDER).canonicalize().context(FOLDER)
}

/// Writes `content` for programs to `name` in that folder and returns where to.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(name: &str, content: &impl Serialize) -> anyhow::Result<PathBuf> {
    let path = folder()?.join(name);
    let text = serde_json::to_string_pretty(content)?;
    fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
    Ok(path)
}
