//! Private nginx servers.
//!
//! Owns the process and its folder. Promises that nginx runs the configuration that it
//! is given, without a daemon and without the folders that its package has for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::folder::Folder;

/// How long it may take to start, or to end, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who nginx is if we are root; Debian's packages make this user.
const USER: &str = "www-data";

/// Folders for what does not fit into memory. The package's belong to the system's nginx.
const TEMPORARY: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// A running nginx; ended with this value.
#[derive(Debug)]
pub(crate) struct Server {
    folder: Folder,
    address: SocketAddr,
}

/// The program, if the environment names one.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("STOCKROOM_TEST_NGINX").map(PathBuf::from)
}

impl Server {
    /// Starts `program` with the configuration that `configure` makes for the address to
    /// listen on. It sets neither `pid` nor `daemon`, and has one block `http`.
    ///
    /// # Panics
    /// nginx does not start.
    pub(crate) fn start(program: PathBuf, configure: impl Fn(SocketAddr) -> String) -> Self {
        let folder = Folder::of_user("nginx", USER);
        let program = program.into_os_string().into_string();
        let program = program.expect("the path is UTF-8");
        let address = folder.on_a_free_port(|port| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            start(&folder, &program, &configure(address), address).then_some(address)
        });
        Self { folder, address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged: failures of those behind it, among others.
    pub(crate) fn log(&self) -> String {
        self.folder.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the workers, too; the folder goes with it. It may have ended by itself.
        if self.folder.signal(Signal::SIGTERM).is_err() {
            return;
        }
        let deadline = Instant::now() + DEADLINE;
        while self.folder.path().exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What `conf` says, with each of ours in the one place where theirs stands.
///
/// # Panics
/// One of theirs is not there, or more than once.
pub(crate) fn replaced(conf: &str, theirs_and_ours: &[(&str, &str)]) -> String {
    let replaced = theirs_and_ours.iter();
    replaced.fold(conf.to_owned(), |conf, (theirs, ours)| {
        assert_eq!(conf.matches(theirs).count(), 1, "{theirs}");
        conf.replace(theirs, ours)
    })
}

fn start(folder: &Folder, program: &str, conf: &str, address: SocketAddr) -> bool {
    let path = folder.path().display();
    let temporary: String = TEMPORARY
        .iter()
        .map(|what| format!("    {what}_temp_path {path}/{what};\n"))
        .collect();
    let conf = replaced(conf, &[("\nhttp {\n", &format!("\nhttp {{\n{temporary}"))]);
    let file = folder.path().join("nginx.conf");
    fs::write(&file, conf).expect("the folder is ours");
    let server = [
        program.to_owned(),
        // Before the configuration is read, and after.
        "-e".to_owned(),
        "stderr".to_owned(),
        "-p".to_owned(),
        path.to_string(),
        "-c".to_owned(),
        file.display().to_string(),
        "-g".to_owned(),
        format!("daemon off; pid {}; error_log stderr;", folder.pid_file()),
    ];
    // "Fast shutdown": QUIT would wait for streams that never end.
    folder.start(&server, "TERM", DEADLINE, || {
        TcpStream::connect(address).is_ok()
    })
}
