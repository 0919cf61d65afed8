//! All levels to one watcher, from the request to Synced. One that is not measured is
//! checked against the ledger.

use std::time::Duration;

use anyhow::ensure;

use crate::bench::{Bench, Measured};
use crate::reader::Work;
use crate::support::numbers::median;
use crate::support::stock::PRODUCTS;

/// Snapshots one after the other, of which the median counts.
const TIMES: usize = 20;

const LIMIT: Duration = Duration::from_secs(60);

impl Bench {
    /// Measures it.
    pub(crate) fn snapshot(&mut self) -> anyhow::Result<Measured> {
        let (database, _) = self.copy()?;
        let server = self.serve(&database, &[])?;
        let reader = self.reader(&server.url, 1, Work::Snapshots { times: TIMES })?;
        let (ms, levels) = reader.snapshots(LIMIT)?;
        ensure!(levels == PRODUCTS, "the snapshot had {levels} levels");
        let mut measured = Measured::default();
        measured.finished(self.finish(reader, &database, PRODUCTS)?);
        server.stop()?;
        let middle = median(ms.iter().copied());
        measured.set("snapshot_ms", middle);
        measured.set("snapshot_worst_ms", ms.iter().copied().fold(0.0, f64::max));
        measured.set("levels_per_s", levels as f64 * 1_000.0 / middle);
        Ok(measured)
    }
}
