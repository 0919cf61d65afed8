//! Processes of Stockroom itself.
//!
//! Promises that nothing of the caller's environment or folder configures one, that each
//! ends with this process, however that ends, and that none ever waits for its own log to
//! be read. Which program that is, and what becomes of the log, each user says.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Opening and migrating takes milliseconds; the rest is for a busy machine.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(30);

/// How often a process is asked whether it is ready, or gone.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// `program`, run in `folder`, which knows nothing of where it was started from. To be
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

/// The address in a line of a server's log that says `message`.
pub(crate) fn address_in(line: &str, message: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    let address = event["address"].as_str()?.parse().ok();
    address.filter(|_| event["message"] == message)
}

/// A process; killed with this value, if it has not ended before.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing when it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `stockroom serve`, or another program that says where it listens, and how it is, in
/// the same way.
#[derive(Debug)]
pub(crate) struct Process {
    running: Running,
    /// Where it serves.
    pub(crate) addr: SocketAddr,
    /// Reads its log; none once that has been read to its end.
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `serve`, which logs JSON, and waits until it listens. `keep` gets each line
    /// of its log.
    ///
    /// # Errors
    /// It does not start, or does not say in time where it listens.
    pub(crate) fn start(
        mut serve: Command,
        mut keep: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let serve = serve.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running(serve.spawn().context("cannot start a server")?);
        let log = running.0.stderr.take().context("stderr is piped")?;
        let (tell, listening) = mpsc::channel();
        // Reads on, so that the process never waits for its own log.
        let reader = thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                keep(&line);
                if let Some(addr) = address_in(&line, "listening") {
                    // An error means that nobody waits any more.
                    let _ = tell.send(addr);
                }
            }
        });
        let addr = listening.recv_timeout(START_DEADLINE);
        Ok(Self {
            running,
            addr: addr.context("the server did not say where it listens")?,
            reader: Some(reader),
        })
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It ends, or does not serve in time.
    pub(crate) async fn served(&mut self) -> anyhow::Result<()> {
        let channel = Endpoint::from_shared(format!("http://{}", self.addr))?.connect_lazy();
        let mut health = HealthClient::new(channel);
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            // Of the server as a whole.
            let answer = health.check(HealthCheckRequest::default()).await;
            if answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving) {
                return Ok(());
            }
            if let Some(status) = self.running.0.try_wait()? {
                bail!("the server ended while it started: {status}");
            }
            ensure!(Instant::now() < deadline, "the server is not healthy");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = Pid::from_raw(self.pid().try_into()?);
        kill(id, signal).context("cannot signal a server")
    }

    /// Whether [`Process::wait`] has seen its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.is_none()
    }

    /// Waits until it has ended, and all of its log was kept.
    ///
    /// # Errors
    /// It goes on for longer than `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.running.0.try_wait()? {
                if let Some(reader) = self.reader.take() {
                    // An error is a panic, which has been told.
                    let _ = reader.join();
                }
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "the server did not end within {limit:?}"
            );
            thread::sleep(POLL_INTERVAL);
        }
    }
}
