//! What `deploy/` says is what its readers and this program understand.

mod alerts;
mod compose;
mod connections;
mod image;
mod kubernetes;
mod namespaces;

use std::path::PathBuf;

use stockroom::config::{Config, Sources, load};

/// The folder of what is deployed.
fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &str) -> String {
    let path = deploy().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The configuration that a program reads from a file in `deploy` and this environment.
fn configured(file: Option<&str>, environment: &[(String, String)]) -> Config {
    let sources = Sources {
        file: file.map(|file| deploy().join(file)),
        environment: environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        flags: Vec::new(),
    };
    match load(&sources) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}
