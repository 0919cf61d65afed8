//! A database whose writers of stock wait. PostgreSQL only.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::fixture::{Home, eventually};
use crate::servers::postgres::bin;

/// A session that keeps every writer of stock waiting until it is dropped.
pub(crate) struct Hold {
    psql: Child,
    home: Arc<Home>,
}

impl Hold {
    pub(crate) async fn on(home: &Arc<Home>) -> Self {
        let psql = Command::new(bin().join("psql"))
            .args(["-Xq", "-d", &home.url()])
            .args(["-c", "BEGIN; LOCK TABLE stock_level IN EXCLUSIVE MODE"])
            // Reads on until its input ends, and then its transaction does too.
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("psql comes with PostgreSQL's server");
        let hold = Self {
            psql,
            home: Arc::clone(home),
        };
        hold.locks("mode = 'ExclusiveLock' AND granted").await;
        hold
    }

    /// Waits until a writer waits.
    pub(crate) async fn has_waiter(&self) {
        self.locks("NOT granted").await;
    }

    async fn locks(&self, which: &str) {
        let locks = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'stock_level'::regclass";
        let locks = format!("{locks} AND {which}");
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
