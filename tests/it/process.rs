//! The real binary as a process of its own, to be killed, signalled and asked.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use stockroom::client::Client;

use crate::fixture::{DEADLINE, Home, eventually};
pub(crate) use crate::servers::stockroom::Running;
use crate::servers::stockroom::{Process, address_in, command};

/// The program as cargo built it for the tests.
const STOCKROOM: &str = env!("CARGO_BIN_EXE_stockroom");

/// Options of a server that needs no `stockroom migrate` before it.
const MIGRATE: [&str; 2] = ["--set", "store.migrate_at_start=true"];

/// `stockroom` with these arguments, in an empty environment of its own and in
/// `folder`, where no configuration file of somebody else lies.
pub(crate) fn stockroom<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Command {
    let mut command = command(STOCKROOM, folder);
    command.args(arguments);
    command
}

/// Runs `stockroom` to its end.
pub(crate) fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Output {
    stockroom(folder, arguments).output().unwrap()
}

/// What a process printed on stdout, when it succeeded.
#[track_caller]
pub(crate) fn stdout(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A `stockroom serve`. Dropped, it is sent SIGTERM, must end well, and leaves
/// books that balance.
pub(crate) struct Server {
    process: Process,
    pub(crate) url: String,
    home: Arc<Home>,
    log: Arc<Mutex<String>>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it on a port of its own and waits until it serves.
    pub(crate) async fn start(home: Arc<Home>) -> Self {
        Self::start_with::<&str>(home, &[]).await
    }

    /// As [`Server::start`], with options of the test's choice.
    pub(crate) async fn start_with<S: AsRef<str>>(home: Arc<Home>, options: &[S]) -> Self {
        let options = options.iter().map(S::as_ref);
        let options: Vec<&str> = MIGRATE.into_iter().chain(options).collect();
        Self::spawn(home, &options).served().await
    }

    /// Waits until it serves.
    pub(crate) async fn served(mut self) -> Self {
        self.process.served().await.unwrap();
        self
    }

    /// As [`Server::start`], by a wall clock that `faketime` (the path of libfaketime) has
    /// set ahead by `ahead`, such as `+1h`.
    pub(crate) async fn start_ahead(home: Arc<Home>, faketime: &str, ahead: &str) -> Self {
        // Not in the environment of `setpriv`, which would have it preloaded as well.
        let by = [
            "env",
            &format!("LD_PRELOAD={faketime}"),
            &format!("FAKETIME={ahead}"),
            // Timers go on as they are; older versions know the second name.
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
        ];
        Self::start_by(&by, home).await
    }

    /// As [`Server::start`], where a file that cannot grow (`RLIMIT_FSIZE`) is an error to
    /// whoever writes, as on a full disk, and not the end of the process.
    pub(crate) async fn start_on_a_disk_that_fills(home: Arc<Home>) -> Self {
        let by = ["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#];
        Self::start_by(&by, home).await
    }

    /// As [`Server::start`], with this limit of open files: `soft:hard`, as `prlimit` takes it.
    pub(crate) async fn start_with_files(home: Arc<Home>, limit: &str) -> Self {
        Self::start_by(&["prlimit", &format!("--nofile={limit}")], home).await
    }

    async fn start_by(by: &[&str], home: Arc<Home>) -> Self {
        let url = home.url();
        Self::spawn_by(by, home, &url, &MIGRATE).served().await
    }

    /// Starts it and waits until it listens.
    pub(crate) fn spawn(home: Arc<Home>, options: &[&str]) -> Self {
        let url = home.url();
        Self::spawn_at(home, &url, options)
    }

    /// As [`Server::spawn`], where `url` leads to the store, as through a proxy.
    pub(crate) fn spawn_at(home: Arc<Home>, url: &str, options: &[&str]) -> Self {
        Self::spawn_by(&[], home, url, options)
    }

    /// As [`Server::spawn_at`], run by what `by` runs: a command without its last word.
    fn spawn_by(by: &[&str], home: Arc<Home>, url: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let words = [by, &[STOCKROOM]].concat();
        let mut serve = command(words[0], folder.path());
        serve
            .args(&words[1..])
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--store-url", url, "--set", "log.format=json"])
            // A port of its own as well, so that servers do not meet.
            .args(["--set", "http.listen=127.0.0.1:0"])
            .args(options);
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let process = Process::start(serve, move |line| {
            *kept.lock().unwrap() += &format!("{line}\n");
        });
        let process = process.unwrap_or_else(|error| panic!("{error:#}:\n{}", log.lock().unwrap()));
        Self {
            url: format!("http://{}", process.addr),
            process,
            home,
            log,
            folder,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url, 1).await.unwrap()
    }

    /// Where metrics and probes are.
    pub(crate) async fn http(&self) -> SocketAddr {
        let mut address = None;
        eventually("it says where", async || {
            let log = self.log();
            let said = |line| address_in(line, "listening for scrapes");
            address = log.lines().find_map(said);
            address.is_some()
        })
        .await;
        address.expect("it was said")
    }

    /// `stockroom` with these arguments against this server, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(
            self.folder.path(),
            &[arguments, &["--addr", &self.url]].concat(),
        )
    }

    /// Where it serves.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.process.addr
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// `kill -9`: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert!(!self.wait().success());
    }

    /// Waits for its end, within the deadline.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.process.wait(DEADLINE);
        status.unwrap_or_else(|error| panic!("{error:#}:\n{}", self.log()))
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * 4_096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever failed may want to know what this process had to say.
            eprintln!("log of {}:\n{}", self.url, self.log());
            return;
        }
        if !self.process.has_ended() {
            self.home.check_no_idle_transaction();
            self.signal(Signal::SIGTERM);
            let status = self.wait();
            assert!(status.success(), "{status}:\n{}", self.log());
        }
        self.home.check_books();
    }
}
