//! The scripts of `scripts/` and `deploy/`, with programs of ours in the place of those that
//! would install, build or start something.

mod image;
mod replica;
mod setup;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The scripts in a folder of their own, so that what they make goes with it.
struct Sandbox {
    folder: tempfile::TempDir,
}

/// What became of a script.
#[derive(Debug)]
struct Ran {
    succeeded: bool,
    /// On stdout and stderr.
    said: String,
}

impl Sandbox {
    /// With what the scripts read.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        succeeds(
            Command::new("cp")
                .arg("-r")
                .args(["scripts", "deploy", "Dockerfile"].map(|it| root.join(it)))
                .arg(folder.path()),
        );
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A program first on PATH, which writes down how it was called and does what `script` says.
    fn stub(&self, name: &str, script: &str) {
        let calls = self.path("calls");
        let calls = format!("echo \"{name} $*\" >>'{}'", calls.display());
        self.program(&format!("stubs/{name}"), &format!("{calls}\n{script}"));
    }

    /// A program. Written by another process: while this one has it open, so may have whatever
    /// another test starts, and then it cannot be run.
    fn program(&self, path: &str, script: &str) {
        let source = self.path("source");
        fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
        succeeds(
            Command::new("install")
                .args(["-D", "-m", "755"])
                .args([source, self.path(path)]),
        );
    }

    /// How the programs were called until now, a line each.
    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// Runs `shell` with these arguments to its end.
    fn run(&self, shell: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(shell);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            if shown.starts_with("STOCKROOM_") || shown == "CARGO_TARGET_DIR" {
                command.env_remove(&name);
            }
        }
        let path = std::env::var("PATH").unwrap();
        let output = command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.path("stubs").display()))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        Ran {
            succeeded: output.status.success(),
            said: String::from_utf8(said).unwrap(),
        }
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
