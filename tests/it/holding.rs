//! A database whose writers of stock wait, or whoever needs one table. PostgreSQL only.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::fixture::{Home, eventually};
use crate::servers::postgres::bin;

/// A session that keeps every writer of stock waiting until it is dropped.
pub(crate) struct Hold {
    psql: Child,
    home: Arc<Home>,
    table: &'static str,
}

impl Hold {
    pub(crate) async fn on(home: &Arc<Home>) -> Self {
        let lock = "LOCK TABLE stock_level IN EXCLUSIVE MODE";
        let hold = Self::begin(home, "stock_level", lock);
        hold.locks("mode = 'ExclusiveLock' AND granted").await;
        hold
    }

    /// Readers too, and of any one table.
    pub(crate) async fn on_all_of(home: &Arc<Home>, table: &'static str) -> Self {
        let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        let hold = Self::begin(home, table, &lock);
        hold.locks("mode = 'AccessExclusiveLock' AND granted").await;
        hold
    }

    /// Writers of some rows alone.
    pub(crate) async fn on_rows(home: &Arc<Home>, rows: &str) -> Self {
        let lock = format!("SELECT FROM {rows} FOR UPDATE");
        let hold = Self::begin(home, "stock_level", &lock);
        let free = format!("SELECT count(*) FROM ({lock} SKIP LOCKED) AS free");
        eventually("the rows are locked", async || home.sql(&free) == "0").await;
        hold
    }

    fn begin(home: &Arc<Home>, table: &'static str, lock: &str) -> Self {
        let psql = Command::new(bin().join("psql"))
            .args(["-Xq", "-d", &home.url()])
            .args(["-c", &format!("BEGIN; {lock}")])
            // Reads on until its input ends, and then its transaction does too.
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("psql comes with PostgreSQL's server");
        let home = Arc::clone(home);
        Self { psql, home, table }
    }

    /// Waits until somebody waits.
    pub(crate) async fn has_waiter(&self) {
        self.locks("NOT granted").await;
    }

    async fn locks(&self, which: &str) {
        let locks = format!(
            "SELECT count(*) > 0 FROM pg_locks WHERE relation = '{}'::regclass AND {which}",
            self.table
        );
        eventually(which, async || self.home.sql(&locks) == "t").await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        let ended = self.psql.wait();
        assert!(
            std::thread::panicking() || ended.is_ok_and(|status| status.success()),
            "psql failed"
        );
    }
}

/// How many sessions wait for locks.
pub(crate) fn waiting_sessions(home: &Home) -> usize {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    home.sql(waiting).parse().unwrap()
}
