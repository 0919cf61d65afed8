//! Memory of streams on which nothing happens.
//!
//! The server's resident memory with 10,000 streams, each on a level of its own, less
//! that without them, connections included. A few streams come and go first, so that
//! what one watcher needs as well (code, statements, pools) is not counted as theirs.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Measured};
use crate::reader::{Finished, Keep, Work};
use crate::readers::Reader;
use crate::subjects::{CONNECTIONS, STREAMS};
use crate::support::cpu;
use crate::support::processes::Server;
use crate::support::stock::PRODUCTS;

/// Streams that come and go first.
const FIRST_STREAMS: usize = 100;
const FIRST_CONNECTIONS: usize = 1;

/// Memory has settled when it moves less than this in this time.
const SETTLED_BYTES: u64 = 256 * 1_024;
const SETTLED_INTERVAL: Duration = Duration::from_secs(1);

/// What does not settle by then is looked at as it is.
const SETTLE_LIMIT: Duration = Duration::from_secs(8);

impl Bench {
    /// Measures the server.
    pub(crate) fn idle(&mut self) -> anyhow::Result<Measured> {
        let (database, _) = self.copy()?;
        let server = self.serve(&database, &[])?;
        let mut measured = Measured::default();
        let reader = self.idle_streams(&server, PRODUCTS, &mut measured)?;
        measured.finished(self.finish(reader, &database, PRODUCTS)?);
        server.stop()?;
        Ok(measured)
    }

    /// Measures the floor.
    pub(crate) fn bare_idle(&mut self) -> anyhow::Result<Measured> {
        let server = self.bare(0)?;
        let mut measured = Measured::default();
        let reader = self.idle_streams(&server, PRODUCTS, &mut measured)?;
        measured.finished(reader.finish(None)?);
        server.stop()?;
        Ok(measured)
    }

    /// The reader whose streams were measured, still open.
    fn idle_streams(
        &self,
        server: &Server,
        levels: usize,
        measured: &mut Measured,
    ) -> anyhow::Result<Reader> {
        let watch = |streams| Work::Watch {
            streams,
            levels,
            keep: Keep::LastValues,
        };
        let first = self.reader(&server.url, FIRST_CONNECTIONS, watch(FIRST_STREAMS))?;
        let Finished { .. } = first.finish(None)?;
        let without = settled_bytes(server.pid())?;
        let reader = self.reader(&server.url, CONNECTIONS, watch(STREAMS))?;
        let with = settled_bytes(server.pid())?;
        let bytes = with as f64 - without as f64;
        measured.set("bytes_per_stream", bytes / STREAMS as f64);
        measured.set("bytes_without", without as f64);
        measured.set("bytes_with", with as f64);
        Ok(reader)
    }
}

/// Resident memory of a process once it has come to rest.
fn settled_bytes(pid: u32) -> anyhow::Result<u64> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut last = cpu::resident_bytes(pid)?;
    loop {
        thread::sleep(SETTLED_INTERVAL);
        let now = cpu::resident_bytes(pid)?;
        if now.abs_diff(last) < SETTLED_BYTES || Instant::now() >= deadline {
            return Ok(now);
        }
        last = now;
    }
}
