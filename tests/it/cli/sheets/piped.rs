//! Imports from standard input.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;

use super::interrupted::signal;
use crate::fixture::{StoreKind, eventually, run_on};
use crate::process::{Running, stockroom};

/// More than a pipe holds, so that an import which has taken it reads, and heeds signals.
const WRITTEN_BYTES: usize = 1 << 20;

#[test]
fn the_first_signal_ends_an_import_that_waits_for_standard_input() {
    run_on(StoreKind::Sqlite, async |_| {
        for asked in [Signal::SIGINT, Signal::SIGTERM] {
            let mut command = stockroom(Path::new("."), &["import", "-"]);
            let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
            let mut importing = Running(command.stderr(Stdio::piped()).spawn().unwrap());
            let mut rest_to_come = importing.0.stdin.take().unwrap();
            rest_to_come.write_all(&vec![b'\n'; WRITTEN_BYTES]).unwrap();
            signal(&importing.0, asked);
            let mut ended = None;
            eventually("the import ends", async || {
                ended = importing.0.try_wait().unwrap();
                ended.is_some()
            })
            .await;
            let mut told = String::new();
            let mut stderr = importing.0.stderr.take().unwrap();
            stderr.read_to_string(&mut told).unwrap();
            assert_eq!(ended.unwrap().code(), Some(130), "{told}");
            assert_eq!(told, "interrupted; nothing was written\n");
        }
    });
}
