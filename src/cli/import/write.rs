//! Writes one piece of a file, so that each of its rows is applied once, however often the
//! piece is written and by however many runs.
//!
//! Products are put, which may be repeated. A piece of changes is one BatchAdjustStock
//! under the id of its first row: all of it or nothing. A piece that is refused, or too
//! large for the server, is written row by row instead, each row under its own id, up to the
//! one that is to blame.
//!
//! **The id of the first row says which way a piece went.** The store gives it to one
//! request alone, in the transaction that does what the request asks for: to the whole
//! piece, or to the first row, which comes before the others. Whoever sends the whole piece
//! and is answered REQUEST_ID_REUSED goes on row by row; whoever sends the first row and is
//! answered that finds the piece written whole. So a run that follows one that was killed,
//! or that runs beside another, never applies a row by both ways.

use super::bad::Problem;
use super::rows::Row;
use super::send::Piece;
use crate::client::proto::adjust_stock_request::Change;
use crate::client::proto::stock_adjustment::Change as BatchChange;
use crate::client::proto::{
    AdjustStockRequest, BatchAdjustStockRequest, Product, PutProductsRequest, StockAdjustment,
};
use crate::client::{ClientError, Retrying};

/// What became of a piece.
#[derive(Default)]
pub(super) struct Outcome {
    /// Rows written by this run.
    pub(super) written: u64,
    /// Rows that an earlier run had written.
    pub(super) replayed: u64,
    pub(super) refused: Vec<Problem>,
}

impl Outcome {
    fn count(&mut self, rows: usize, replayed: bool) {
        let counted = if replayed {
            &mut self.replayed
        } else {
            &mut self.written
        };
        *counted += rows as u64;
    }

    fn refused(line: u64, why: String) -> Self {
        let column = String::new();
        Self {
            refused: vec![Problem { line, column, why }],
            ..Self::default()
        }
    }
}

/// A change under the id of its row, and the row's line.
type Numbered = (u64, AdjustStockRequest);

/// Writes a piece of the import with this id.
///
/// # Errors
/// The store did not say what became of it.
pub(super) async fn write(
    client: &Retrying,
    import_id: &str,
    piece: Piece,
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
    if !products.is_empty() {
        return put(client, products).await;
    }
    match whole(client, &changes).await? {
        Ok(outcome) => Ok(outcome),
        Err(_) => row_by_row(client, &changes).await,
    }
}

async fn put(client: &Retrying, products: Vec<(u64, Product)>) -> anyhow::Result<Outcome> {
    let (lines, products): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let mut outcome = Outcome::default();
    outcome.count(products.len(), false);
    let request = PutProductsRequest {
        products,
        ..PutProductsRequest::default()
    };
    match client.put_products(&request).await {
        Ok(_) => Ok(outcome),
        Err(error) => Ok(Outcome::refused(lines[0], refusal(lines[0], error)?)),
    }
}

/// All of the changes at once; or why the store would not.
async fn whole(
    client: &Retrying,
    changes: &[Numbered],
) -> anyhow::Result<Result<Outcome, ClientError>> {
    let Some((line, first)) = changes.first() else {
        return Ok(Ok(Outcome::default()));
    };
    let request = BatchAdjustStockRequest {
        request_id: first.request_id.clone(),
        adjustments: changes.iter().map(|(_, it)| adjustment(it)).collect(),
        ..BatchAdjustStockRequest::default()
    };
    match client.batch_adjust_stock(&request).await {
        Ok(answer) => {
            let mut outcome = Outcome::default();
            outcome.count(changes.len(), answer.replayed);
            Ok(Ok(outcome))
        }
        // The latter is a server whose server.message_bytes_max is below what a piece takes.
        Err(error) if is_refusal(&error) || error.code == "OUT_OF_RANGE" => Ok(Err(error)),
        Err(error) => Err(gave_up(*line, error)),
    }
}

/// One change after the other, up to one that is refused.
async fn row_by_row(client: &Retrying, changes: &[Numbered]) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for (place, (line, change)) in changes.iter().enumerate() {
        match client.adjust_stock(change).await {
            Ok(answer) => outcome.count(1, answer.replayed),
            Err(error) if place == 0 && error.reason == "REQUEST_ID_REUSED" => {
                // Somebody has written the piece whole: another run, just now; or one
                // before, and then it is answered as its repeat unless a row has changed.
                return Ok(match whole(client, changes).await? {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::refused(*line, not_the_same(changes)),
                });
            }
            Err(error) => {
                let why = refusal(*line, error)?;
                outcome.refused = Outcome::refused(*line, why).refused;
                break;
            }
        }
    }
    Ok(outcome)
}

fn not_the_same(changes: &[Numbered]) -> String {
    let last = changes.last().map_or(0, |(line, _)| *line);
    format!(
        "the rows up to line {last} were imported together, and are not what they were: \
         a row that was imported cannot be changed"
    )
}

fn adjustment(change: &AdjustStockRequest) -> StockAdjustment {
    StockAdjustment {
        sku: change.sku.clone(),
        location: change.location.clone(),
        change: change.change.map(|change| match change {
            Change::Delta(units) => BatchChange::Delta(units),
            Change::SetOnHand(units) => BatchChange::SetOnHand(units),
        }),
        kind: change.kind,
        note: change.note.clone(),
        expected_version: change.expected_version,
    }
}

/// Whether the store has said that it will not, now and later.
fn is_refusal(error: &ClientError) -> bool {
    error.is_refusal() && !error.retryable()
}

/// Why a row was refused; any other failure says nothing of the row and ends the import.
fn refusal(line: u64, error: ClientError) -> anyhow::Result<String> {
    if is_refusal(&error) {
        Ok(error.to_string())
    } else {
        Err(gave_up(line, error))
    }
}

fn gave_up(line: u64, error: ClientError) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("gave up at line {line}"))
}
