//! Private PostgreSQL servers for the tests and benches of one process.
//!
//! Owns the servers and their databases: one for the whole process, and more for
//! tests that stop theirs or want replicas (`replica.rs`). Promises that they flush commits as PostgreSQL does out of
//! the box (fsync and synchronous_commit on), unless their user tells them otherwise.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::folder::Folder;

/// Where Debian keeps PostgreSQL 15, off PATH.
const BIN_DEFAULT: &str = "/usr/lib/postgresql/15/bin";

/// The superuser of the server's databases. Its sockets trust everybody: the
/// data is worthless and the server short-lived.
pub(super) const ROLE: &str = "postgres";

/// How long the server may take to start on a busy machine.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(60);

/// A database of its own; dropped with this value.
#[derive(Debug)]
pub(crate) struct Database {
    /// `postgres://…`, for TCP on the loopback interface.
    pub(crate) url: String,
    name: String,
    server: Arc<Server>,
}

/// The folder of `initdb`, `postgres` and `psql`.
pub(crate) fn bin() -> PathBuf {
    std::env::var_os("STOCKROOM_TEST_POSTGRES_BIN")
        .map_or_else(|| BIN_DEFAULT.into(), PathBuf::from)
}

/// Makes an empty database on the server of the process, which the first call
/// starts and which lives as long as the process.
///
/// # Panics
/// PostgreSQL is not installed or does not start.
pub(crate) fn database() -> Database {
    static SERVER: OnceLock<Arc<Server>> = OnceLock::new();
    Server::database(SERVER.get_or_init(Server::start))
}

impl Database {
    /// Makes a copy. Nobody may be connected to the original.
    pub(crate) fn copy(&self) -> Self {
        self.server.copy_of(&self.name)
    }

    /// The same database on another server, a replica of this one's.
    pub(crate) fn url_on(&self, replica: &Server) -> String {
        replica.url(&self.name)
    }

    /// The same database on a replica that has taken its server's place.
    pub(crate) fn on(&self, promoted: &Arc<Server>) -> Self {
        Self {
            url: self.url_on(promoted),
            name: self.name.clone(),
            server: Arc::clone(promoted),
        }
    }

    /// What the server logged of this database.
    pub(crate) fn log(&self) -> String {
        // As `log_line_prefix` puts it before the first line of an entry.
        let ours = format!("] {} ", self.name);
        let log = self.server.folder.log();
        // The further lines of an entry begin with a tab.
        let mut is_ours = false;
        let lines = log.lines().filter(|line| {
            if !line.starts_with('\t') {
                is_ours = line.contains(&ours);
            }
            is_ours
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.server.folder.is_kept() {
            // It has been stopped, and nobody started it again.
            return;
        }
        // Whatever still holds a connection belongs to a test that is over.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let dropped = psql(&self.server.url("postgres"), &drop);
        if !dropped.status.success() && !thread::panicking() {
            // The server may be dead, of which whoever used it has more to say.
            eprintln!("{drop}: {}", String::from_utf8_lossy(&dropped.stderr));
        }
    }
}

/// A running server; ended with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) folder: Folder,
    pub(super) port: u16,
}

impl Server {
    /// Starts a server of its own.
    ///
    /// # Panics
    /// PostgreSQL is not installed or does not start.
    pub(crate) fn start() -> Arc<Self> {
        let initdb = bin().join("initdb");
        assert!(
            initdb.exists(),
            "{} is missing: scripts/setup-test-tools.sh installs PostgreSQL",
            initdb.display()
        );
        let folder = Folder::of_user("postgres", ROLE);
        init(&folder);
        Arc::new(Self::of(folder))
    }

    /// Starts the server whose data is ready.
    pub(super) fn of(folder: Folder) -> Self {
        let port = folder.on_a_free_port(|port| start(&folder, port).then_some(port));
        Self { folder, port }
    }

    /// `HOST:PORT`.
    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes an empty database.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        self.copy_of("template1")
    }

    fn copy_of(self: &Arc<Self>, template: &str) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stockroom_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.admin(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database {
            url: self.url(&name),
            name,
            server: Arc::clone(self),
        }
    }

    /// `pg_ctl stop -m immediate`: every process of it is gone, and nothing was
    /// written first. What was flushed is found again by [`Server::start_again`].
    pub(crate) fn stop_at_once(&self) {
        self.folder.keep();
        let said = stop(&self.folder, "immediate");
        assert!(said.status.success(), "pg_ctl failed: {said:?}");
    }

    /// Starts it where it was, after [`Server::stop_at_once`].
    pub(crate) fn start_again(&self) {
        let start = || start(&self.folder, self.port);
        self.folder.start_again(START_DEADLINE, start);
    }

    pub(super) fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// What `sql` answers to the superuser.
    pub(super) fn admin(&self, sql: &str) -> String {
        let output = psql(&self.url("postgres"), sql);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {problem}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.is_kept() {
            self.folder.remove();
        } else {
            // The folder goes with the server.
            stop(&self.folder, "fast");
        }
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/{database}")
}

fn answers(port: u16) -> bool {
    psql(&url(port, "postgres"), "SELECT 1").status.success()
}

/// Runs `sql` against the database at `url`.
pub(crate) fn psql(url: &str, sql: &str) -> Output {
    Command::new(bin().join("psql"))
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .stdin(Stdio::null())
        .output()
        .expect("psql comes with PostgreSQL's server")
}

pub(super) fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}

/// One of PostgreSQL's programs on the data, to its end.
pub(super) fn command(folder: &Folder, program: &str) -> Command {
    let mut command = folder.command(bin().join(program));
    command.arg("--pgdata").arg(data(folder));
    command
}

fn init(folder: &Folder) {
    let output = command(folder, "initdb")
        .args([
            "--username",
            ROLE,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ])
        // English sorts `a` before `B`, unlike bytes: what forgets COLLATE "C" shows.
        .args([
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en-US",
        ])
        .output()
        .expect("setpriv comes with util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb failed: {said}");
    let mut settings = String::new();
    for (name, value) in [
        ("listen_addresses", "'127.0.0.1'"),
        (
            "unix_socket_directories",
            &*format!("'{}'", folder.path().display()),
        ),
        ("max_connections", "600"),
        ("log_line_prefix", "'%m [%p] %d '"),
    ] {
        writeln!(settings, "{name} = {value}").expect("a String takes all");
    }
    let file = data(folder).join("postgresql.auto.conf");
    fs::write(&file, settings).expect("initdb made the folder");
}

/// Stops the server and waits until it has ended.
fn stop(folder: &Folder, mode: &str) -> Output {
    let mut command = command(folder, "pg_ctl");
    command.args(["stop", "--mode", mode]);
    command.output().expect("setpriv comes with util-linux")
}

/// Starts the server and waits until it answers; not when it ended at once.
fn start(folder: &Folder, port: u16) -> bool {
    let text = |path: PathBuf| path.to_str().expect("the path is UTF-8").to_owned();
    let server = [
        text(bin().join("postgres")),
        "-D".to_owned(),
        text(data(folder)),
        "-p".to_owned(),
        port.to_string(),
    ];
    // "Fast shutdown".
    folder.start(&server, "INT", START_DEADLINE, || answers(port))
}
