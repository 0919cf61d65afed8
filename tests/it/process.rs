//! The real binary as a process of its own, to be killed, signalled and asked.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stockroom::client::Client;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::{DEADLINE, Home, eventually};

/// `stockroom` with these arguments, in an empty environment of its own and in
/// `folder`, where no configuration file of somebody else lies.
pub(crate) fn stockroom(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("STOCKROOM_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// Runs `stockroom` to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    stockroom(folder, arguments).output().unwrap()
}

/// What a process printed on stdout, when it succeeded.
#[track_caller]
pub(crate) fn stdout(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A process that ends with the test, also with one that fails.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `stockroom serve`. Dropped, it is sent SIGTERM, must end well, and leaves
/// books that balance.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    home: Arc<Home>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it on a port of its own and waits until it serves.
    pub(crate) async fn start(home: Arc<Home>) -> Self {
        Self::start_with(home, &[]).await
    }

    /// As [`Server::start`], with options of the test's choice.
    pub(crate) async fn start_with(home: Arc<Home>, options: &[&str]) -> Self {
        let migrate: &[&str] = &["--set", "store.migrate_at_start=true"];
        Self::spawn(home, &[migrate, options].concat())
            .served()
            .await
    }

    /// Waits until it serves.
    pub(crate) async fn served(self) -> Self {
        let channel = Channel::from_shared(self.url.clone())
            .unwrap()
            .connect_lazy();
        let health = HealthClient::new(channel);
        eventually("the process serves", async || {
            let answer = health.clone().check(HealthCheckRequest::default()).await;
            answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving)
        })
        .await;
        self
    }

    /// As [`Server::start`], by a wall clock that `faketime` (the path of libfaketime) has
    /// set ahead by `ahead`, such as `+1h`.
    pub(crate) async fn start_ahead(home: Arc<Home>, faketime: &str, ahead: &str) -> Self {
        let environment = [
            ("LD_PRELOAD", faketime),
            ("FAKETIME", ahead),
            // Timers go on as they are; older versions know the second name.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        let options = ["--set", "store.migrate_at_start=true"];
        let url = home.url();
        Self::spawn_in(stockroom, home, &url, &options, &environment)
            .served()
            .await
    }

    /// As [`Server::start`], where a file that cannot grow (`RLIMIT_FSIZE`) is an error to
    /// whoever writes, as on a full disk, and not the end of the process.
    pub(crate) async fn start_on_a_disk_that_fills(home: Arc<Home>) -> Self {
        let options = ["--set", "store.migrate_at_start=true"];
        let server = |folder: &Path, arguments: &[&str]| {
            let stockroom = stockroom(folder, arguments);
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                .arg(stockroom.get_program())
                .args(stockroom.get_args())
                .current_dir(folder)
                .stdin(Stdio::null());
            for (name, value) in stockroom.get_envs() {
                assert!(value.is_none(), "it would be lost");
                shell.env_remove(name);
            }
            shell
        };
        let url = home.url();
        Self::spawn_in(server, home, &url, &options, &[])
            .served()
            .await
    }

    /// Starts it and waits until it listens.
    pub(crate) fn spawn(home: Arc<Home>, options: &[&str]) -> Self {
        let url = home.url();
        Self::spawn_at(home, &url, options)
    }

    /// As [`Server::spawn`], where `url` leads to the store, as through a proxy.
    pub(crate) fn spawn_at(home: Arc<Home>, url: &str, options: &[&str]) -> Self {
        Self::spawn_in(stockroom, home, url, options, &[])
    }

    fn spawn_in(
        stockroom: impl Fn(&Path, &[&str]) -> Command,
        home: Arc<Home>,
        url: &str,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = stockroom(folder.path(), &["serve", "--listen", "127.0.0.1:0"])
            .args(["--store-url", url, "--set", "log.format=json"])
            // A port of its own as well, so that servers do not meet.
            .args(["--set", "http.listen=127.0.0.1:0"])
            .args(options)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (told, addresses) = mpsc::channel();
        // Reads on, so that the process never waits for its own log.
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in lines.map_while(Result::ok) {
                    *log.lock().unwrap() += &format!("{line}\n");
                    if let Some(address) = address_in(&line, "listening") {
                        let _ = told.send(address);
                    }
                }
            }
        });
        let Ok(address) = addresses.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not listen:\n{}", log.lock().unwrap());
        };
        Self {
            child,
            url: format!("http://{address}"),
            home,
            log,
            reader: Some(reader),
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
        address.expect("it was said").parse().unwrap()
    }

    /// `stockroom` with these arguments against this server, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(
            self.folder.path(),
            &[arguments, &["--addr", &self.url]].concat(),
        )
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// `kill -9`: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert!(!self.wait().success());
    }

    /// Waits for its end, within the deadline.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * 4_096
    }
}

/// The address in a line of the log that says `message`.
fn address_in(line: &str, message: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = event["address"].as_str().map(str::to_owned);
    address.filter(|_| event["message"] == message)
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever failed may want to know what this process had to say.
            eprintln!("log of {}:\n{}", self.url, self.log());
            let _ = self.child.kill();
            let _ = self.child.wait();
            return;
        }
        if self.reader.is_some() {
            self.home.check_no_idle_transaction();
            self.signal(Signal::SIGTERM);
            let status = self.wait();
            assert!(status.success(), "{status}:\n{}", self.log());
        }
        self.home.check_books();
    }
}
