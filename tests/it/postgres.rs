//! Private PostgreSQL servers for the tests and benches of one process.
//!
//! Owns the servers, their folders and their databases: one for the whole
//! process, and more for tests that stop theirs. Promises that they flush
//! commits as PostgreSQL does out of the box (fsync and synchronous_commit on),
//! that they meet no other server, and that they end with this process, however
//! that ends. Knows nothing of Stockroom; benches include this file by its path.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Where Debian keeps PostgreSQL 15, off PATH.
const BIN_DEFAULT: &str = "/usr/lib/postgresql/15/bin";

/// The superuser of the server's databases. Its sockets trust everybody: the
/// data is worthless and the server short-lived.
const ROLE: &str = "postgres";

/// How long the server may take to start on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Another process may take the port between our look and the server's bind.
const PORTS_TRIED_MAX: u32 = 5;

/// Lies in the folder of a server that is to start again.
const STOPPED: &str = "stopped";

/// Runs the server and removes its folder when it has ended well and for good.
/// `$1` is the folder, the rest the server's command. The kernel sends TERM to the
/// shell when the thread that spawned it ends, which interrupts `wait`, and INT
/// ("fast shutdown") to the server should somebody kill the shell. Not INT to the
/// shell: in a run that was started in the background it cannot be trapped.
const GUARD: &str = r#"
folder=$1; shift
trap 'kill -INT $server 2>/dev/null' INT TERM
setpriv --pdeathsig INT "$@" & server=$!
wait $server; code=$?
while [ -d /proc/$server ]; do wait $server; code=$?; done
[ $code -ne 0 ] || [ -e "$folder/stopped" ] || rm -rf "$folder"
"#;

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
    /// What the server logged of this database.
    pub(crate) fn log(&self) -> String {
        // As `log_line_prefix` puts it before the first line of an entry.
        let ours = format!("] {} ", self.name);
        let log = self.server.folder.log();
        let lines = log.lines().filter(|line| line.contains(&ours));
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Whatever still holds a connection belongs to a test that is over.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        if thread::panicking() {
            // The test may have failed while its server was stopped.
            psql(&self.server.url("postgres"), &drop);
        } else {
            self.server.admin(&drop);
        }
    }
}

/// A running server; ended with this value.
#[derive(Debug)]
pub(crate) struct Server {
    folder: Folder,
    port: u16,
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
        let folder = Folder::new();
        folder.init();
        let started = (0..PORTS_TRIED_MAX).find_map(|_| {
            let port = free_port();
            folder.start(port).then_some(port)
        });
        let port = started.unwrap_or_else(|| panic!("PostgreSQL did not start:\n{}", folder.log()));
        Arc::new(Self { folder, port })
    }

    /// Makes an empty database.
    pub(crate) fn database(self: &Arc<Self>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stockroom_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.admin(&format!("CREATE DATABASE {name}"));
        Database {
            url: self.url(&name),
            name,
            server: Arc::clone(self),
        }
    }

    /// `pg_ctl stop -m immediate`: every process of it is gone, and nothing was
    /// written first. What was flushed is found again by [`Server::start_again`].
    pub(crate) fn stop_at_once(&self) {
        fs::write(self.folder.path.join(STOPPED), "").expect("the folder is ours");
        let said = self.folder.stop("immediate");
        assert!(said.status.success(), "pg_ctl failed: {said:?}");
    }

    /// Starts it where it was, after [`Server::stop_at_once`].
    pub(crate) fn start_again(&self) {
        fs::remove_file(self.folder.path.join(STOPPED)).expect("it was stopped");
        // Somebody's outgoing connection may have the port for a moment.
        let deadline = Instant::now() + START_DEADLINE;
        while !self.folder.start(self.port) {
            assert!(
                Instant::now() < deadline,
                "PostgreSQL did not start again:\n{}",
                self.folder.log()
            );
        }
    }

    fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    fn admin(&self, sql: &str) {
        let output = psql(&self.url("postgres"), sql);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {problem}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.path.join(STOPPED).exists() {
            let _ = fs::remove_dir_all(&self.folder.path);
        } else {
            // The folder goes with the server.
            self.folder.stop("fast");
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

/// Where a server keeps its data, socket and log, and as whom it runs.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Options of `setpriv` that leave root behind; PostgreSQL refuses to be root.
    drop_root: Vec<String>,
}

impl Folder {
    fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("stockroom-postgres-")
            .tempdir()
            .expect("the temporary directory can be written")
            .keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let mut drop_root = Vec::new();
        if fs::metadata(&path).expect("it was just made").uid() == 0 {
            let user = if id("-u", ROLE).is_some() {
                ROLE
            } else {
                "nobody"
            };
            let (uid, gid) = (id("-u", user), id("-g", user));
            chown(&path, uid, gid).expect("root may do this");
            drop_root.push("--clear-groups".to_owned());
            for (option, id) in [("--reuid", uid), ("--regid", gid)] {
                let id = id.expect("every system has a user `nobody`");
                drop_root.push(format!("{option}={id}"));
            }
        }
        Self { path, drop_root }
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path.join("log")).unwrap_or_default()
    }

    fn init(&self) {
        let output = self
            .command("initdb")
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
                &*format!("'{}'", self.path.display()),
            ),
            ("max_connections", "300"),
            ("log_line_prefix", "'%m [%p] %d '"),
        ] {
            writeln!(settings, "{name} = {value}").expect("a String takes all");
        }
        let file = self.data().join("postgresql.auto.conf");
        fs::write(&file, settings).expect("initdb made the folder");
    }

    /// One of PostgreSQL's programs on the data, to its end.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(&self.drop_root)
            .arg("--no-new-privs")
            .arg(bin().join(program))
            .arg("--pgdata")
            .arg(self.data())
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    /// Stops the server and waits until it has ended.
    fn stop(&self, mode: &str) -> Output {
        let mut command = self.command("pg_ctl");
        command.args(["stop", "--mode", mode]);
        command.output().expect("setpriv comes with util-linux")
    }

    /// Starts the server and waits until it answers; not when it ended at once.
    fn start(&self, port: u16) -> bool {
        let ended = self.spawn(port);
        let deadline = Instant::now() + START_DEADLINE;
        while !answers(port) {
            if ended.is_finished() {
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "PostgreSQL is not ready:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Spawns the server from a thread that does nothing but wait for its end:
    /// the kernel ends the server with the *thread* that spawned it.
    fn spawn(&self, port: u16) -> thread::JoinHandle<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path.join("log"));
        let log = log.expect("the folder was just made");
        let mut command = Command::new("setpriv");
        command
            .args(&self.drop_root)
            .args(["--pdeathsig", "TERM", "sh", "-c", GUARD, "guard"])
            .arg(&self.path)
            .arg(bin().join("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port.to_string()])
            .current_dir(Path::new("/"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log);
        thread::spawn(move || {
            let mut guard = command.spawn().expect("setpriv comes with util-linux");
            let _ = guard.wait();
        })
    }
}

/// What `id` says of a user; none when there is no such user.
fn id(option: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([option, user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}
