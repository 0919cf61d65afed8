//! Private Redis servers for the tests and benches of one process: single ones, and
//! clusters of three.
//!
//! Owns the servers: one for the whole process, and more for tests that break theirs.
//! They keep nothing on disk, so one that was killed starts empty.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::folder::{Folder, free_port};

/// Names the program; a run that does not set it runs no test that needs Redis.
pub(crate) const VARIABLE: &str = "STOCKROOM_TEST_REDIS_SERVER";

/// How long a server may take to start, or a cluster to agree, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a command may take before the server counts as silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Slots that the servers of a cluster share.
const SLOTS: u32 = 16_384;

/// The program, if the run has one.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// The server of the process, which the first call starts.
///
/// # Panics
/// Redis does not start.
pub(crate) fn shared() -> Arc<Server> {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    Arc::clone(SERVER.get_or_init(|| Arc::new(Server::start())))
}

/// The cluster of the process, which the first call starts.
///
/// # Panics
/// Redis does not start.
pub(crate) fn shared_cluster() -> Arc<Cluster> {
    static CLUSTER: OnceLock<Arc<Cluster>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| Arc::new(Cluster::start())))
}

/// A running server; ended with this value.
#[derive(Debug)]
pub(crate) struct Server {
    folder: Folder,
    port: u16,
    /// The port on which the servers of a cluster speak; none alone.
    bus: Option<u16>,
}

impl Server {
    /// Starts a server of its own.
    ///
    /// # Panics
    /// Redis does not start.
    pub(crate) fn start() -> Self {
        Self::begin(false)
    }

    fn begin(of_cluster: bool) -> Self {
        let folder = Folder::new("redis");
        let (port, bus) = folder.on_a_free_port(|port| {
            let bus = of_cluster.then(free_port);
            run(&folder, port, bus).then_some((port, bus))
        });
        Self { folder, port, bus }
    }

    /// `redis://…`
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it with `kill -9`.
    pub(crate) fn kill(&self) {
        self.folder.kill(self.pid());
    }

    /// Starts it where it was, empty, after [`Server::kill`].
    pub(crate) fn start_again(&self) {
        let start = || run(&self.folder, self.port, self.bus);
        self.folder.start_again(START_DEADLINE, start);
    }

    /// SIGSTOP: connections stay open and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        self.tell(&["FLUSHALL"]);
    }

    /// What it answers, as it stands on the wire.
    ///
    /// # Panics
    /// It refuses, or says nothing.
    pub(crate) fn tell(&self, command: &[&str]) -> String {
        let answer = self.ask(command).expect("Redis answers");
        assert!(!answer.starts_with('-'), "{command:?}: {answer}");
        answer
    }

    fn ask(&self, command: &[&str]) -> io::Result<String> {
        ask(self.port, command)
    }

    fn signal(&self, signal: Signal) {
        let sent = self.folder.signal(signal);
        sent.expect("Redis runs as ourselves");
    }

    /// The process, for who wants to know what it takes.
    pub(crate) fn pid(&self) -> u32 {
        self.folder.pid().expect("Redis wrote its pid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.is_kept() {
            self.folder.remove();
        } else {
            // The folder goes with the server, which a stopped one cannot do.
            self.thaw();
            self.signal(Signal::SIGTERM);
        }
    }
}

/// Three masters that share the slots.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: [Server; 3],
}

impl Cluster {
    /// Starts three servers and waits until they agree.
    ///
    /// # Panics
    /// Redis does not start.
    pub(crate) fn start() -> Self {
        let nodes = [true; 3].map(Server::begin);
        let share = SLOTS.div_ceil(nodes.len() as u32);
        for (place, node) in (0..).zip(&nodes) {
            let (first, end) = (place * share, ((place + 1) * share).min(SLOTS));
            let (first, last) = (first.to_string(), (end - 1).to_string());
            node.tell(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let bus = node.bus.expect("it is of a cluster").to_string();
            let port = node.port.to_string();
            nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every server knows that all slots are served.
    pub(crate) fn wait_until_whole(&self) {
        let deadline = Instant::now() + START_DEADLINE;
        let agrees = |node: &Server| {
            let info = node.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !self.nodes.iter().all(agrees) {
            assert!(Instant::now() < deadline, "the cluster does not agree");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `redis://…` of each.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }
}

/// Starts the server and waits until it answers; not when it ended at once.
fn run(folder: &Folder, port: u16, bus: Option<u16>) -> bool {
    let program = program().unwrap_or_else(|| "redis-server".into());
    let text = |path: PathBuf| path.to_str().expect("the path is UTF-8").to_owned();
    let mut server = vec![text(program)];
    for (name, value) in [
        ("--bind", "127.0.0.1".to_owned()),
        ("--port", port.to_string()),
        ("--dir", text(folder.path().to_owned())),
        ("--pidfile", folder.pid_file()),
        ("--save", String::new()),
        ("--appendonly", "no".to_owned()),
    ] {
        server.extend([name.to_owned(), value]);
    }
    if let Some(bus) = bus {
        for (name, value) in [
            ("--cluster-enabled", "yes".to_owned()),
            ("--cluster-port", bus.to_string()),
            // What the servers know of each other; a killed one finds its slots again.
            ("--cluster-config-file", "nodes.conf".to_owned()),
            ("--cluster-node-timeout", "2000".to_owned()),
        ] {
            server.extend([name.to_owned(), value]);
        }
    }
    folder.start(&server, "TERM", START_DEADLINE, || {
        ask(port, &["PING"]).is_ok_and(|answer| answer.starts_with("+PONG"))
    })
}

/// Asks on a connection of its own; returns one reply as it stands on the wire.
fn ask(port: u16, command: &[&str]) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = format!("*{}\r\n", command.len());
    for word in command {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    // It closes the connection behind the answer to QUIT.
    text += "*1\r\n$4\r\nQUIT\r\n";
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim_end_matches("+OK\r\n").trim_end().to_owned())
}
