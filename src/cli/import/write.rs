//! Writes one piece of a file, so that each of its rows is applied once, however often the
//! piece is written and by however many runs.
//!
//! Products are put, which may be repeated. A piece of changes is one BatchAdjustStock
//! under the id of its first row: all of it or nothing. A piece of either that is refused,
//! or too large for the server, is written row by row instead, changes each under the id of
//! its row, up to the one that is to blame.
//!
//! **The id of the first row says which way a piece went.** The store gives it to one
//! request alone, in the transaction that does what the request asks for: to the whole
//! piece, or to the first row, which comes before the others. Whoever sends the whole piece
//! and is answered REQUEST_ID_REUSED goes on row by row; whoever sends the first row and is
//! answered that finds the piece written whole. So a run that follows one that was killed,
//! or that runs beside another, never applies a row by both ways.

use super::rows::Row;
use super::send::Piece;
use crate::cli::sheet::bad::Problem;
use crate::client::proto::adjust_stock_request::Change;
use crate::client::proto::stock_adjustment::Change as BatchChange;
use crate::client::proto::{
    AdjustStockRequest, BatchAdjustStockRequest, Product, PutProductsRequest, StockAdjustment,
};
use crate::client::{ClientError, Retrying};
use crate::error::Reason;

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

    fn refuse(&mut self, line: u64, why: String) {
        self.refused.push(Problem::of_row(line, why));
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
        Some(outcome) => Ok(outcome),
        None => row_by_row(client, &changes).await,
    }
}

/// Products, all at once; where the store will not have that, one after the other, up to one
/// that is refused.
async fn put(client: &Retrying, products: Vec<(u64, Product)>) -> anyhow::Result<Outcome> {
    let (lines, products): (Vec<_>, Vec<_>) = products.into_iter().unzip();
    let mut outcome = Outcome::default();
    let rows = products.len();
    match client.put_products(&request(products.clone())).await {
        Ok(_) => outcome.count(rows, false),
        Err(error) if rows > 1 && is_refusal(&error) => {
            for (line, product) in lines.into_iter().zip(products) {
                match client.put_products(&request(vec![product])).await {
                    Ok(_) => outcome.count(1, false),
                    Err(error) => {
                        outcome.refuse(line, refusal(line, error)?);
                        break;
                    }
                }
            }
        }
        Err(error) => outcome.refuse(lines[0], refusal(lines[0], error)?),
    }
    Ok(outcome)
}

fn request(products: Vec<Product>) -> PutProductsRequest {
    PutProductsRequest {
        products,
        ..PutProductsRequest::default()
    }
}

/// All of the changes at once; none where the store will not have that.
async fn whole(client: &Retrying, changes: &[Numbered]) -> anyhow::Result<Option<Outcome>> {
    let mut outcome = Outcome::default();
    let Some((line, first)) = changes.first() else {
        return Ok(Some(outcome));
    };
    let request = BatchAdjustStockRequest {
        request_id: first.request_id.clone(),
        adjustments: changes.iter().map(|(_, it)| adjustment(it)).collect(),
        ..BatchAdjustStockRequest::default()
    };
    match client.batch_adjust_stock(&request).await {
        Ok(answer) => {
            outcome.count(changes.len(), answer.replayed);
            Ok(Some(outcome))
        }
        Err(error) if is_refusal(&error) => Ok(None),
        Err(error) => Err(gave_up(*line, error)),
    }
}

/// One change after the other, up to one that is refused.
async fn row_by_row(client: &Retrying, changes: &[Numbered]) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for (place, (line, change)) in changes.iter().enumerate() {
        match client.adjust_stock(change).await {
            Ok(answer) => outcome.count(1, answer.replayed),
            Err(error) if place == 0 && error.has_reason(Reason::RequestIdReused) => {
                // Somebody has written the piece whole: another run, just now; or one
                // before, and then it is answered as its repeat unless a row has changed.
                if let Some(outcome) = whole(client, changes).await? {
                    return Ok(outcome);
                }
                outcome.refuse(*line, not_the_same(changes));
                break;
            }
            Err(error) => {
                outcome.refuse(*line, refusal(*line, error)?);
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

/// Whether the store has said that it will not, now and later. A smaller piece it may take,
/// also where this one is larger than its `server.message_bytes_max`.
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
