//! Writes the rows of a file that has been checked, piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};

use super::check::Checked;
use super::columns::What;
use super::rows::{Row, Table};
use super::source::Bytes;
use super::write::write;
use crate::cli::progress::Progress;
use crate::cli::sheet::bad::BadRows;
use crate::client::Retrying;

/// Rows of a piece: as many as BatchAdjustStock takes. A piece is written under the id of its
/// first row, so it must have the same rows in every version of this program: with another
/// number an import that was begun with this one would write rows again.
const PIECE_ROWS: usize = 500;

/// Rows of a piece of products, which needs no ids. Each product changes with all of its
/// levels in one transaction: at hundreds of locations as many as PutProducts takes would run
/// into `store.statement_timeout_ms`, and keep orders waiting until then.
const PIECE_PRODUCTS: usize = 100;

/// Pieces under way at a time, where their order does not matter: enough that the server
/// need not wait for the next one.
const PIECES_AHEAD: usize = 4;

/// What became of an import.
pub(super) struct Sent {
    /// Rows written by this run.
    pub(super) written: u64,
    /// Rows that an earlier run had written.
    pub(super) replayed: u64,
    pub(super) end: End,
}

/// How an import ended.
pub(super) enum End {
    Complete,
    Interrupted,
    /// The store would not take these rows.
    Refused(BadRows),
    Failed(anyhow::Error),
}

/// The file is not what it was when it was checked, and why that is known.
#[derive(Debug, thiserror::Error)]
#[error("the file has changed since it was checked{0}")]
pub(super) struct Changed(String);

/// Some rows that follow each other.
pub(super) struct Piece {
    /// Each with its line.
    pub(super) rows: Vec<(u64, Row)>,
    /// The number of the first one in the file, from 1.
    pub(super) first: u64,
}

/// The pieces of a file that is good.
pub(super) struct Pieces {
    table: Table,
    /// Rows read so far.
    rows: u64,
    /// What the file's digest must be when its end is reached.
    digest: Option<String>,
    stop: Arc<AtomicBool>,
    ended: bool,
}

impl Pieces {
    pub(super) fn of(bytes: Bytes) -> anyhow::Result<Self> {
        Ok(Self {
            table: Table::open(bytes)?,
            rows: 0,
            digest: None,
            stop: Arc::default(),
            ended: false,
        })
    }

    fn piece(&mut self) -> anyhow::Result<Option<Piece>> {
        let first = self.rows + 1;
        let rows_max = match self.table.columns.what {
            What::Products => PIECE_PRODUCTS,
            What::Levels | What::Adjustments => PIECE_ROWS,
        };
        let mut rows = Vec::with_capacity(rows_max);
        while rows.len() < rows_max {
            let read = self.table.next();
            let Some(read) = read.map_err(|problem| Changed(format!(": {}", problem.why)))? else {
                self.ended = true;
                if self
                    .digest
                    .as_ref()
                    .is_some_and(|digest| *digest != self.table.digest())
                {
                    return Err(Changed(String::new()).into());
                }
                break;
            };
            rows.push((read.line, read.row.map_err(|_| Changed(String::new()))?));
        }
        self.rows += rows.len() as u64;
        Ok((!rows.is_empty()).then_some(Piece { rows, first }))
    }
}

impl Iterator for Pieces {
    type Item = anyhow::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let piece = self.piece().transpose();
        self.ended |= !matches!(piece, Some(Ok(_)));
        piece
    }
}

/// Writes all rows, until one is refused or `stop` resolves; what is under way is waited for.
pub(super) async fn send(
    client: &Retrying,
    bytes: Bytes,
    checked: &Checked,
    import_id: &str,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Sent> {
    let mut pieces = Pieces::of(bytes)?;
    pieces.digest = Some(checked.digest.clone());
    let stopping = Arc::clone(&pieces.stop);
    let progress = Progress::start("rows", checked.rows as usize);
    // Adjustments of a level are made in the order of their rows: what came in first
    // may be what goes out later.
    let pieces_ahead = match checked.what {
        What::Adjustments => 1,
        What::Products | What::Levels => PIECES_AHEAD,
    };
    let calls = stream::iter(pieces).map(|piece| {
        let progress = &progress;
        async move {
            let piece = piece?;
            let rows = piece.rows.len();
            let outcome = write(client, import_id, piece).await?;
            progress.advance(rows);
            anyhow::Ok(outcome)
        }
    });
    let mut calls = std::pin::pin!(calls.buffer_unordered(pieces_ahead));
    let mut stop = std::pin::pin!(stop);
    let (mut written, mut replayed, mut refused) = (0, 0, BadRows::default());
    let (mut failure, mut interrupted) = (None, false);
    loop {
        let outcome = tokio::select! {
            outcome = calls.next() => outcome,
            () = &mut stop, if !interrupted => {
                interrupted = true;
                stopping.store(true, Ordering::Relaxed);
                continue;
            }
        };
        match outcome {
            None => break,
            Some(Ok(outcome)) => {
                written += outcome.written;
                replayed += outcome.replayed;
                for problem in outcome.refused {
                    stopping.store(true, Ordering::Relaxed);
                    refused.add(problem);
                }
            }
            Some(Err(error)) => {
                stopping.store(true, Ordering::Relaxed);
                // What it takes to go on after that, it takes whatever else went wrong.
                if failure.is_none() || error.is::<Changed>() {
                    failure = Some(error);
                }
            }
        }
    }
    progress.finish();
    let end = match (refused.into_result(), failure) {
        (Err(refused), _) => End::Refused(refused),
        (Ok(()), Some(error)) => End::Failed(error),
        (Ok(()), None) if written + replayed < checked.rows => End::Interrupted,
        (Ok(()), None) => End::Complete,
    };
    Ok(Sent {
        written,
        replayed,
        end,
    })
}
