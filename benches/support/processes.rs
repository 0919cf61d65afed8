//! Servers as child processes.
//!
//! Promises that every child is ended by its own id and waited for, on failure
//! too, that it ends with this process, however that ends, and that nothing of the
//! caller's environment or folder configures one.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The program as cargo built it for this bench.
pub(crate) const STOCKROOM: &str = env!("CARGO_BIN_EXE_stockroom");

/// Opening and migrating takes milliseconds; the rest is for a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Above the server's own time to drain.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// How often a child is asked whether it is ready, or gone.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Lines of one server's log that are passed on; a sick one repeats itself.
const LOG_LINES_MAX: usize = 20;

/// `stockroom`, or another program, that knows nothing of where it was started from. To be
/// spawned by a thread that outlives it: the kernel ends it with the thread that did.
pub(crate) fn command(program: impl AsRef<Path>, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOCKROOM_") {
            command.env_remove(name);
        }
    }
    command
        .args(["--pdeathsig", "TERM"])
        .arg(program.as_ref())
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// A server in a process of its own. Killed if it is dropped before it is stopped.
pub(crate) struct Server {
    child: Child,
    /// Where it serves, as a URL.
    pub(crate) url: String,
    /// When it said so: from then on connections are taken.
    pub(crate) listening_at: Instant,
}

/// What a server says in its log; other fields do not matter here.
#[derive(Deserialize)]
struct LogLine {
    message: Option<String>,
    address: Option<String>,
}

impl Server {
    /// Starts `stockroom serve` on the database at `store_url` and waits until it serves.
    ///
    /// # Errors
    /// It ends or is not healthy in time.
    pub(crate) fn stockroom(
        runtime: &Runtime,
        folder: &Path,
        store_url: &str,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut serve = command(STOCKROOM, folder);
        serve
            .arg("serve")
            .env("STOCKROOM_STORE_URL", store_url)
            .env("STOCKROOM_SERVER_LISTEN", "127.0.0.1:0")
            // Nobody scrapes, and another server may have the port.
            .env("STOCKROOM_HTTP_LISTEN", "off")
            // Warnings, and the one line that tells the port.
            .env("STOCKROOM_LOG_FILTER", "warn,stockroom::cli::serve=info")
            .env("STOCKROOM_LOG_FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        Self::start(runtime, serve)
    }

    /// Starts this executable as the server that `role` asks for.
    ///
    /// # Errors
    /// It ends or is not healthy in time.
    pub(crate) fn own(runtime: &Runtime, folder: &Path, role: &str) -> anyhow::Result<Self> {
        let mut serve = command(std::env::current_exe()?, folder);
        serve.arg(role);
        Self::start(runtime, serve)
    }

    fn start(runtime: &Runtime, mut serve: Command) -> anyhow::Result<Self> {
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().context("stderr is piped")?;
        let mut server = Self {
            child,
            url: String::new(),
            listening_at: Instant::now(),
        };
        let address = follow(log).recv_timeout(START_DEADLINE);
        let address = address.context("the server did not say where it listens")?;
        server.listening_at = Instant::now();
        server.url = format!("http://{address}");
        runtime.block_on(server.healthy())?;
        Ok(server)
    }

    async fn healthy(&mut self) -> anyhow::Result<()> {
        let channel = Endpoint::from_shared(self.url.clone())?.connect_lazy();
        let mut health = HealthClient::new(channel);
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            // "" is the server as a whole, the echo's included.
            let answer = health
                .check(HealthCheckRequest {
                    service: String::new(),
                })
                .await;
            if answer.is_ok_and(|a| a.into_inner().status() == ServingStatus::Serving) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended while it started: {status}");
            }
            ensure!(Instant::now() < deadline, "the server is not healthy");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to drain and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or not well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        signal(&self.child, Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                // The echo has nothing to drain: the signal itself ends it.
                let by_signal = status.signal() == Some(Signal::SIGTERM as i32);
                let ended_well = status.success() || by_signal;
                ensure!(ended_well, "the server ended with {status}");
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("the server did not end within {STOP_DEADLINE:?} of SIGTERM")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both do nothing when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let id = Pid::from_raw(child.id().try_into()?);
    kill(id, signal).context("cannot signal a child")
}

/// Reads a server's log to its end, so that it never blocks; passes on what it
/// complains of, and sends where it listens.
fn follow(log: ChildStderr) -> mpsc::Receiver<String> {
    let (send, listening) = mpsc::channel();
    thread::spawn(move || {
        let mut passed_on = 0;
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(LogLine {
                    address: Some(address),
                    ..
                }) => {
                    // An error means that nobody waits any more.
                    let _ = send.send(address);
                }
                Ok(LogLine {
                    message: Some(message),
                    ..
                }) if message == "stopped" => {}
                _ if passed_on < LOG_LINES_MAX => {
                    passed_on += 1;
                    eprintln!("  server: {line}");
                }
                _ => {}
            }
        }
    });
    listening
}
