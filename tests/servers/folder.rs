//! Where a private server keeps what it has, as whom it runs, and how it ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Another process may take a port between our look and the server's bind.
const PORTS_TRIED_MAX: u32 = 5;

/// What a server that was killed may take until nothing is left of it.
const KILL_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the server and removes its folder when it has ended well and for good.
/// `$1` is the folder, `$2` the file that says that it is to start again, `$3` the signal
/// that ends the server well (KILL for one that keeps nothing, which reaches it even while
/// it is stopped), the rest the server's command. The kernel sends TERM to the shell when
/// the thread that spawned it ends, which interrupts `wait`, and `$3` to the server should
/// somebody kill the shell. Not INT to the shell: in a run that was started in the
/// background it cannot be trapped.
const GUARD: &str = r#"
folder=$1; stopped=$2; signal=$3; shift 3
trap 'kill -$signal $server 2>/dev/null' INT TERM
setpriv --pdeathsig $signal "$@" & server=$!
wait $server; code=$?
while [ -d /proc/$server ]; do wait $server; code=$?; done
case $code$signal in 0*|137KILL) [ -e "$stopped" ] || rm -rf "$folder";; esac
"#;

/// The folder of one server.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Options of `setpriv` that leave root behind, for servers that refuse to be root.
    drop_root: Vec<String>,
    /// How often the server was started.
    starts: AtomicU32,
}

impl Folder {
    /// A new one, for a server that may be root.
    ///
    /// # Panics
    /// The temporary directory cannot be written.
    pub(super) fn new(server: &str) -> Self {
        let path = tempfile::Builder::new()
            .prefix(&format!("stockroom-{server}-"))
            .tempdir()
            .expect("the temporary directory can be written")
            .keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Self {
            path,
            drop_root: Vec::new(),
            starts: AtomicU32::new(0),
        }
    }

    /// A new one, whose server runs as `user`, or as `nobody` where there is no such
    /// user, if we are root.
    ///
    /// # Panics
    /// The temporary directory cannot be written.
    pub(super) fn of_user(server: &str, user: &str) -> Self {
        let mut folder = Self::new(server);
        if fs::metadata(&folder.path).expect("it was just made").uid() == 0 {
            let user = if id("-u", user).is_some() {
                user
            } else {
                "nobody"
            };
            let (uid, gid) = (id("-u", user), id("-g", user));
            chown(&folder.path, uid, gid).expect("root may do this");
            folder.drop_root.push("--clear-groups".to_owned());
            for (option, id) in [("--reuid", uid), ("--regid", gid)] {
                let id = id.expect("every system has a user `nobody`");
                folder.drop_root.push(format!("{option}={id}"));
            }
        }
        folder
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the server wrote to its output.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path.join("log")).unwrap_or_default()
    }

    /// A program that is run in the folder, as the server's user.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(&self.drop_root)
            .arg("--no-new-privs")
            .arg(program.as_ref())
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    /// Starts `server`, which `signal` ends well, and waits until it `answers`; not when
    /// it ended at once.
    ///
    /// # Panics
    /// It is not ready within `deadline`.
    pub(super) fn start(
        &self,
        server: &[String],
        signal: &str,
        deadline: Duration,
        answers: impl Fn() -> bool,
    ) -> bool {
        let ended = self.spawn(server, signal);
        let deadline = Instant::now() + deadline;
        while !answers() {
            if ended.is_finished() {
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "{} is not ready:\n{}",
                server[0],
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// What `start` brings on a free port; it is tried on another one when it brings nothing.
    ///
    /// # Panics
    /// It brings nothing on any of them.
    pub(super) fn on_a_free_port<T>(&self, start: impl Fn(u16) -> Option<T>) -> T {
        let started = (0..PORTS_TRIED_MAX).find_map(|_| start(free_port()));
        started.unwrap_or_else(|| panic!("the server did not start:\n{}", self.log()))
    }

    /// Repeats `start` until it has started the server where it was.
    ///
    /// # Panics
    /// It has not within `deadline`.
    pub(super) fn start_again(&self, deadline: Duration, start: impl Fn() -> bool) {
        let deadline = Instant::now() + deadline;
        // Somebody's outgoing connection may have the port for a moment.
        while !start() {
            assert!(
                Instant::now() < deadline,
                "the server did not start again:\n{}",
                self.log()
            );
        }
    }

    /// Spawns the server from a thread that does nothing but wait for its end:
    /// the kernel ends the server with the *thread* that spawned it.
    fn spawn(&self, server: &[String], signal: &str) -> thread::JoinHandle<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path.join("log"));
        let log = log.expect("the folder was just made");
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new("setpriv");
        command
            .args(&self.drop_root)
            .args(["--pdeathsig", "TERM", "sh", "-c", GUARD, "guard"])
            .arg(&self.path)
            .arg(self.stopped())
            .arg(signal)
            .args(server)
            .current_dir("/")
            // Ctrl-C is for us, who end servers when nobody needs them any more.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log);
        thread::spawn(move || {
            let mut guard = command.spawn().expect("setpriv comes with util-linux");
            let _ = guard.wait();
        })
    }

    /// Lies in the folder once the server is to start again: another file for each start,
    /// since whoever guards the last one may look for it after the next one has begun.
    fn stopped(&self) -> PathBuf {
        let starts = self.starts.load(Ordering::Relaxed);
        self.path.join(format!("stopped-{starts}"))
    }

    /// Keeps the folder when the server ends, for it shall start again.
    pub(super) fn keep(&self) {
        fs::write(self.stopped(), "").expect("the folder is ours");
    }

    /// Whether [`Folder::keep`] was called since it last started.
    pub(super) fn is_kept(&self) -> bool {
        self.stopped().exists()
    }

    /// Where a server that is to be signalled writes the id of its process.
    pub(super) fn pid_file(&self) -> String {
        let file = self.path.join("pid");
        file.to_str().expect("the path is UTF-8").to_owned()
    }

    /// The process, which has written down its id.
    ///
    /// # Errors
    /// It never did, or has taken it back at its end.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        Ok(fs::read_to_string(self.pid_file())?.trim().parse()?)
    }

    /// Signals the process.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid()?.try_into()?);
        Ok(signal::kill(pid, signal)?)
    }

    /// `kill -9` of the process, which is `pid`: nothing is flushed first. The folder stays.
    ///
    /// # Panics
    /// It does not end.
    pub(super) fn kill(&self, pid: u32) {
        self.keep();
        let process = format!("/proc/{pid}");
        // It may have ended before.
        let _ = self.signal(Signal::SIGKILL);
        let deadline = Instant::now() + KILL_DEADLINE;
        while Path::new(&process).exists() {
            assert!(Instant::now() < deadline, "it outlives SIGKILL");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes the folder of a server that has ended.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What `id` says of a user; none when there is no such user.
fn id(option: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([option, user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Another process may take it before the server binds it: be ready to try again.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}
