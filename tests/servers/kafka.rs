//! Private Apache Kafka brokers for the tests and benches of one process.
//!
//! Owns the brokers: single processes in KRaft mode, broker and controller at once. One
//! serves the whole process, and more serve tests that break theirs. Promises that
//! topics are made by whoever wants them and never by asking for them.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::folder::{Folder, free_port};

/// Names the folder of Kafka's jars.
const LIBS: &str = "STOCKROOM_TEST_KAFKA_LIBS";

/// Small and quick to start: little is sent, and brokers live for seconds. The compiler
/// stops at its first tier, which suits what runs for so short.
const JVM: [&str; 6] = [
    "-Xmx256m",
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
];

/// How long a broker may take to start on a busy machine: 5 s on an idle one.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// Another process may take a port between our look and the broker's bind.
const PORTS_TRIED_MAX: u32 = 5;

/// Whether Kafka is there to be started.
pub(crate) fn is_installed() -> bool {
    std::env::var_os(LIBS).is_some()
}

/// The broker of the process, which the first call starts and which lives as long as
/// the process.
///
/// # Panics
/// Kafka is not installed or does not start.
pub(crate) fn shared() -> &'static Arc<Kafka> {
    static SERVER: OnceLock<Arc<Kafka>> = OnceLock::new();
    SERVER.get_or_init(Kafka::start)
}

/// A prefix of topics that nobody else in the process has.
pub(crate) fn prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}.", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A running broker; ended with this value.
#[derive(Debug)]
pub(crate) struct Kafka {
    folder: Folder,
    port: u16,
    jvm: &'static [&'static str],
}

impl Kafka {
    /// Starts a broker of its own.
    ///
    /// # Panics
    /// Kafka is not installed or does not start.
    pub(crate) fn start() -> Arc<Self> {
        Self::start_in(&JVM)
    }

    /// As [`Kafka::start`], in a JVM with these options.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub(crate) fn start_in(jvm: &'static [&'static str]) -> Arc<Self> {
        assert!(
            is_installed(),
            "{LIBS} is not set: scripts/setup-test-tools.sh installs Kafka"
        );
        let started = (0..PORTS_TRIED_MAX).find_map(|_| {
            let kafka = Self {
                folder: Folder::new("kafka"),
                port: free_port(),
                jvm,
            };
            kafka.format(free_port());
            kafka.run().then_some(kafka)
        });
        Arc::new(started.expect("Kafka finds a port within a few attempts"))
    }

    /// `HOST:PORT`.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `kill -9`: nothing is flushed first.
    pub(crate) fn kill(&self) {
        self.folder.keep();
        self.signal(Signal::SIGKILL);
        let deadline = Instant::now() + START_DEADLINE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "Kafka survives kill -9");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it where it was, after [`Kafka::kill`].
    pub(crate) fn start_again(&self) {
        let deadline = Instant::now() + START_DEADLINE;
        // Somebody's outgoing connection may have the port for a moment.
        while !self.run() {
            let log = self.folder.log();
            assert!(Instant::now() < deadline, "Kafka did not start:\n{log}");
        }
    }

    /// SIGSTOP: its connections stay open, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The process, for `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        let pid = fs::read_to_string(self.folder.path().join("pid")).expect("it was started");
        pid.trim().parse().expect("the shell wrote its number")
    }

    /// Formats the storage. The controller's port is asked for once: it is in there.
    fn format(&self, controller: u16) {
        let path = self.folder.path().display();
        let mut settings = String::new();
        for (name, value) in [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            (
                "controller.quorum.bootstrap.servers",
                &format!("127.0.0.1:{controller}"),
            ),
            (
                "listeners",
                &format!(
                    "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{controller}",
                    self.port
                ),
            ),
            (
                "advertised.listeners",
                &format!(
                    "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{controller}",
                    self.port
                ),
            ),
            ("controller.listener.names", "CONTROLLER"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("log.dirs", &format!("{path}/data")),
            ("auto.create.topics.enable", "false"),
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            // One broker that was stopped comes back to itself at once.
            ("controller.quorum.election.timeout.ms", "300"),
            ("controller.quorum.fetch.timeout.ms", "600"),
            ("broker.session.timeout.ms", "6000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("num.network.threads", "1"),
            ("num.io.threads", "2"),
            ("log.cleaner.enable", "false"),
        ] {
            writeln!(settings, "{name}={value}").expect("a String takes all");
        }
        fs::write(self.settings(), settings).expect("the folder was just made");
        let output = Command::new("java")
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-cp", &class_path(), "kafka.tools.StorageTool"])
            .args([
                "format",
                "--standalone",
                "-t",
                "c3RvY2tyb29tLXRlc3RzIQ",
                "-c",
            ])
            .arg(self.settings())
            .stdin(Stdio::null())
            .output()
            .expect("java is on PATH: scripts/setup-test-tools.sh installs it");
        assert!(output.status.success(), "kafka cannot format: {output:?}");
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// Starts the broker and waits until it takes part; not when it ended at once.
    fn run(&self) -> bool {
        let text = |path: PathBuf| path.to_str().expect("the path is UTF-8").to_owned();
        let pid = text(self.folder.path().join("pid"));
        // The shell turns into the JVM, whose number it has written down.
        let script = r#"echo $$ > "$1"; shift; exec java "$@""#;
        let mut server: Vec<String> = ["sh", "-c", script, "kafka", &pid]
            .map(str::to_owned)
            .into();
        server.extend(self.jvm.iter().map(|option| (*option).to_owned()));
        server.extend(["-cp".to_owned(), class_path(), "kafka.Kafka".to_owned()]);
        server.push(text(self.settings()));
        let started_before = self.times_started();
        // Nothing in it is worth a good end, which takes seconds; and it may be frozen.
        self.folder.start(&server, "KILL", START_DEADLINE, || {
            self.times_started() > started_before
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        })
    }

    fn times_started(&self) -> usize {
        self.folder.log().matches("Kafka Server started").count()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().try_into().expect("a pid is an i32");
        kill(Pid::from_raw(pid), signal).expect("Kafka runs as ourselves");
    }

    fn is_running(&self) -> bool {
        PathBuf::from(format!("/proc/{}", self.pid())).exists()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.folder.keep();
        if self.is_running() {
            self.signal(Signal::SIGKILL);
            while self.is_running() {
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.folder.remove();
    }
}

fn class_path() -> String {
    let libs = std::env::var(LIBS).expect("is_installed was asked");
    format!("{libs}/*")
}
