//! Writes the rows of a file that has been checked, piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{anyhow, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bad::{BadRows, Problem};
use super::check::Checked;
use super::columns::What;
use super::rows::{Row, Table};
use super::source::Bytes;
use crate::cli::progress::Progress;
use crate::client::proto::{AdjustStockRequest, Product, PutProductsRequest};
use crate::client::{ClientError, Retrying};

/// Rows of a piece. Ids of an import name the piece's rows, so that a piece must have the
/// same ones in every version of this program: another number makes other ids, and an
/// import that was begun with the old ones would write its rows again.
const PIECE_ROWS: usize = 500;

/// Pieces under way at a time, where their order does not matter: enough that the server
/// need not wait for the next one.
const PIECES_AHEAD: usize = 4;

/// Rows of a piece under way at a time.
const ROWS_AHEAD: usize = 64;

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

/// Some rows that follow each other.
pub(super) struct Piece {
    /// Each with its line.
    pub(super) rows: Vec<(u64, Row)>,
    /// The number of the first one in the file, from 1.
    first: u64,
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
        const CHANGED: &str = "the file has changed since it was checked";
        let first = self.rows + 1;
        let mut rows = Vec::with_capacity(PIECE_ROWS);
        while rows.len() < PIECE_ROWS {
            let read = self.table.next();
            let Some(read) = read.map_err(|problem| anyhow!("{CHANGED}: {}", problem.why))? else {
                self.ended = true;
                if self
                    .digest
                    .as_ref()
                    .is_some_and(|digest| *digest != self.table.digest())
                {
                    bail!(CHANGED);
                }
                break;
            };
            rows.push((read.line, read.row.map_err(|_| anyhow!(CHANGED))?));
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

/// What became of a piece.
#[derive(Default)]
struct Outcome {
    written: u64,
    replayed: u64,
    refused: Vec<Problem>,
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
    let (pieces_ahead, rows_ahead) = match checked.what {
        What::Adjustments => (1, 1),
        What::Products | What::Levels => (PIECES_AHEAD, ROWS_AHEAD),
    };
    let calls = stream::iter(pieces).map(|piece| {
        let progress = &progress;
        async move {
            let piece = piece?;
            let rows = piece.rows.len();
            let outcome = write(client, import_id, piece, rows_ahead).await?;
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
                failure.get_or_insert(error);
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

async fn write(
    client: &Retrying,
    import_id: &str,
    piece: Piece,
    rows_ahead: usize,
) -> anyhow::Result<Outcome> {
    let (mut products, mut changes) = (Vec::new(), Vec::new());
    for (number, (line, row)) in (piece.first..).zip(piece.rows) {
        match row {
            Row::Product(product) => products.push((line, product)),
            Row::Change(change) => changes.push((
                line,
                AdjustStockRequest {
                    request_id: format!("import:{import_id}:{number}"),
                    ..change
                },
            )),
        }
    }
    if products.is_empty() {
        adjust(client, changes, rows_ahead).await
    } else {
        put(client, products).await
    }
}

/// Puts products. There is no id: it makes no difference how often they are put.
async fn put(client: &Retrying, products: Vec<(u64, Product)>) -> anyhow::Result<Outcome> {
    let (lines, products): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let rows = products.len() as u64;
    let answer = client
        .put_products(&PutProductsRequest {
            products,
            ..Default::default()
        })
        .await;
    let mut outcome = Outcome::default();
    match answer {
        Ok(_) => outcome.written = rows,
        Err(error) => outcome.refused.push(refusal(lines[0], error)?),
    }
    Ok(outcome)
}

async fn adjust(
    client: &Retrying,
    changes: Vec<(u64, AdjustStockRequest)>,
    rows_ahead: usize,
) -> anyhow::Result<Outcome> {
    let calls = changes.into_iter().map(|(line, change)| async move {
        let answer = client.adjust_stock(&change).await;
        match answer {
            Ok(answer) => Ok(Ok(answer.replayed)),
            Err(error) => refusal(line, error).map(Err),
        }
    });
    let mut calls = stream::iter(calls).buffered(rows_ahead);
    let mut outcome = Outcome::default();
    while let Some(answer) = calls.try_next().await? {
        match answer {
            Ok(true) => outcome.replayed += 1,
            Ok(false) => outcome.written += 1,
            Err(problem) => {
                outcome.refused.push(problem);
                break;
            }
        }
    }
    Ok(outcome)
}

/// A refusal as a bad row; any other failure says nothing of the row and ends the import.
fn refusal(line: u64, error: ClientError) -> anyhow::Result<Problem> {
    if !error.is_refusal() || error.retryable() {
        return Err(anyhow::Error::new(error).context(format!("gave up at line {line}")));
    }
    Ok(Problem {
        line,
        column: String::new(),
        why: error.to_string(),
    })
}
