//! Servers on a database of their own, from their start to their books.

use tokio::runtime::Runtime;

use super::processes::Server;
use super::stores::{Audit, Database, Totals};

/// Servers on a database of their own.
pub(crate) struct Trial {
    // Dropped first: nobody is connected to the database when that goes.
    servers: Vec<Server>,
    database: Database,
    opening_units: i64,
}

impl Trial {
    /// `opening_units` are on hand in `database`.
    pub(crate) fn new(database: Database, opening_units: i64, servers: Vec<Server>) -> Self {
        Self {
            servers,
            database,
            opening_units,
        }
    }

    /// What the servers work on.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Where the servers are.
    pub(crate) fn urls(&self) -> Vec<&str> {
        self.servers.iter().map(|s| s.url.as_str()).collect()
    }

    /// The processes of the servers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Stops the servers and holds the books against what the loads were told.
    ///
    /// # Errors
    /// A server does not end well, or the database failed.
    pub(crate) fn end(self, runtime: &Runtime, told: Totals) -> anyhow::Result<Audit> {
        // The books are read from what stopped servers have left on disk.
        for server in self.servers {
            server.stop()?;
        }
        runtime.block_on(self.database.audit(self.opening_units, told))
    }
}
