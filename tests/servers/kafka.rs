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
use std::time::Duration;

use nix::sys::signal::Signal;

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
        let folder = Folder::new("kafka");
        let port = folder.on_a_free_port(|port| {
            format(&folder, port, free_port());
            run(&folder, port, jvm).then_some(port)
        });
        Arc::new(Self { folder, port, jvm })
    }

    /// `HOST:PORT`.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `kill -9`: nothing is flushed first.
    pub(crate) fn kill(&self) {
        self.folder.kill(self.pid());
    }

    /// Starts it where it was, after [`Kafka::kill`].
    pub(crate) fn start_again(&self) {
        let start = || run(&self.folder, self.port, self.jvm);
        self.folder.start_again(START_DEADLINE, start);
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
        self.folder.pid().expect("the shell wrote its number")
    }

    fn signal(&self, signal: Signal) {
        let sent = self.folder.signal(signal);
        sent.expect("Kafka runs as ourselves");
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
        self.folder.remove();
    }
}

/// Formats the storage. The controller's port is asked for once: it is in there.
fn format(folder: &Folder, port: u16, controller: u16) {
    let path = folder.path().display();
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let mut text = String::new();
    for (name, value) in [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        (
            "controller.quorum.bootstrap.servers",
            &format!("127.0.0.1:{controller}"),
        ),
        ("listeners", &listeners),
        ("advertised.listeners", &listeners),
        ("controller.listener.names", "CONTROLLER"),
        ("inter.broker.listener.name", "PLAINTEXT"),
        // Empty, also where another port was tried before.
        ("log.dirs", &format!("{path}/data-{port}")),
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
        writeln!(text, "{name}={value}").expect("a String takes all");
    }
    fs::write(settings(folder), text).expect("the folder was just made");
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
        .arg(settings(folder))
        .stdin(Stdio::null())
        .output()
        .expect("java is on PATH: scripts/setup-test-tools.sh installs it");
    assert!(output.status.success(), "kafka cannot format: {output:?}");
}

fn settings(folder: &Folder) -> PathBuf {
    folder.path().join("server.properties")
}

/// Starts the broker and waits until it takes part; not when it ended at once.
fn run(folder: &Folder, port: u16, jvm: &[&str]) -> bool {
    // The shell turns into the JVM, whose number it has written down.
    let script = r#"echo $$ > "$1"; shift; exec java "$@""#;
    let mut server: Vec<String> = ["sh", "-c", script, "kafka", &folder.pid_file()]
        .map(str::to_owned)
        .into();
    server.extend(jvm.iter().map(|option| (*option).to_owned()));
    server.extend(["-cp".to_owned(), class_path(), "kafka.Kafka".to_owned()]);
    let settings = settings(folder);
    server.push(settings.to_str().expect("the path is UTF-8").to_owned());
    let started_before = times_started(folder);
    // Nothing in it is worth a good end, which takes seconds; and it may be frozen.
    folder.start(&server, "KILL", START_DEADLINE, || {
        times_started(folder) > started_before && TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
}

fn times_started(folder: &Folder) -> usize {
    folder.log().matches("Kafka Server started").count()
}

fn class_path() -> String {
    let libs = std::env::var(LIBS).expect("is_installed was asked");
    format!("{libs}/*")
}
