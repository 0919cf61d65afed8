//! Streaming replicas of a private PostgreSQL: a server like any other, made of a
//! backup of its primary, which it follows until it is promoted.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::postgres::{ROLE, START_DEADLINE, Server, command, data};

impl Server {
    /// Makes a replica. The primary keeps for it what it has not heard, however long it
    /// is away.
    ///
    /// # Panics
    /// The backup fails, or the replica does not start.
    pub(crate) fn replica(&self) -> Arc<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let slot = format!("replica_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Folder::of_user("postgres", ROLE);
        let output = command(&folder, "pg_basebackup")
            .args(["--host=127.0.0.1", &format!("--port={}", self.port)])
            .arg(format!("--username={ROLE}"))
            .args(["--write-recovery-conf", "--create-slot", "--slot", &slot])
            .args(["--checkpoint=fast", "--no-sync"])
            .output()
            .expect("setpriv comes with util-linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_basebackup failed: {said}");
        // The last line of a setting counts; the backup has the primary's.
        let settings = data(&folder).join("postgresql.auto.conf");
        let settings = File::options().append(true).open(settings);
        let socket = format!("unix_socket_directories = '{}'", folder.path().display());
        writeln!(settings.expect("the backup has it"), "{socket}").expect("the folder is ours");
        Arc::new(Self::of(folder))
    }

    /// Goes on hearing the primary, and shows nothing new of it.
    pub(crate) fn pause_replay(&self) {
        self.admin("SELECT pg_wal_replay_pause()");
        // It has been asked; the record at hand is replayed first.
        self.wait_for("SELECT pg_get_wal_replay_pause_state() = 'paused'");
    }

    /// Shows what it has heard meanwhile, and goes on.
    pub(crate) fn resume_replay(&self) {
        self.admin("SELECT pg_wal_replay_resume()");
    }

    /// Waits until a replica shows all that this server shows now.
    pub(crate) fn wait_until_shown_by(&self, replica: &Self) {
        let position = self.admin("SELECT pg_current_wal_lsn()");
        replica.wait_for(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"));
    }

    /// Hears nothing more of its primary: what is committed from here on it does not have.
    pub(crate) fn stop_hearing(&self) {
        self.admin("ALTER SYSTEM SET primary_conninfo = ''");
        self.admin("SELECT pg_reload_conf()");
        self.wait_for("SELECT count(*) = 0 FROM pg_stat_wal_receiver");
    }

    /// Makes a replica a primary, with what it has heard until now.
    pub(crate) fn promote(&self) {
        let mut command = command(&self.folder, "pg_ctl");
        let output = command.args(["promote", "--wait"]).output();
        let output = output.expect("setpriv comes with util-linux");
        assert!(output.status.success(), "pg_ctl promote: {output:?}");
    }

    fn wait_for(&self, question: &str) {
        let deadline = Instant::now() + START_DEADLINE;
        while self.admin(question) != "t" {
            assert!(Instant::now() < deadline, "waited in vain: {question}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
