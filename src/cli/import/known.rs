//! The second look at a file: whether its SKUs are products of the store.

use std::collections::BTreeMap;

use anyhow::bail;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::rows::Row;
use super::send::Pieces;
use super::source::Bytes;
use crate::cli::progress::Progress;
use crate::cli::sheet::bad::{BadRows, Problem};
use crate::client::proto::{BatchGetStockKey, BatchGetStockRequest, GetProductRequest};
use crate::client::{ClientError, Retrying};
use crate::error::Reason;

/// Calls at a time.
const CALLS: usize = 4;

/// Calls at a time that ask for one SKU each.
const PRODUCT_CALLS: usize = 16;

/// Lines by the SKU that they name.
type Lines = BTreeMap<String, Vec<u64>>;

/// Looks up every SKU of a file.
///
/// # Errors
/// [`BadRows`] with each row whose SKU is unknown, or the store could not be asked.
pub(super) async fn check(client: &Retrying, bytes: Bytes) -> anyhow::Result<()> {
    let progress = Progress::counting("SKUs looked up");
    let mut bad = BadRows::default();
    let pieces = stream::iter(Pieces::of(bytes)?).map(|piece| {
        let progress = &progress;
        async move {
            let mut lines = Lines::new();
            for (line, row) in piece?.rows {
                let Row::Change(change) = row else { continue };
                lines.entry(change.sku).or_default().push(line);
            }
            let looked_up = lines.len();
            let unknown = unknown(client, lines).await?;
            progress.advance(looked_up);
            anyhow::Ok(unknown)
        }
    });
    let mut pieces = pieces.buffered(CALLS);
    while let Some(unknown) = pieces.try_next().await? {
        for (sku, lines) in unknown {
            let problems = lines.into_iter().map(|line| Problem {
                line,
                column: "sku".to_owned(),
                why: format!("{sku} is no product of this store"),
            });
            problems.for_each(|problem| bad.add(problem));
        }
        if bad.is_full() {
            bad.cut_short("the rest of the file was not looked up");
            break;
        }
    }
    progress.finish();
    Ok(bad.into_result()?)
}

/// Those of the SKUs that are unknown.
async fn unknown(client: &Retrying, lines: Lines) -> anyhow::Result<Lines> {
    let keys = lines.keys().map(|sku| BatchGetStockKey {
        sku: sku.clone(),
        location: String::new(),
        // The primary's word: elsewhere one that was just deleted may still be known.
        min_version: None,
    });
    let keys: Vec<_> = keys.collect();
    if keys.is_empty() {
        return Ok(Lines::new());
    }
    match client.batch_get_stock(&BatchGetStockRequest { keys }).await {
        Ok(_) => return Ok(Lines::new()),
        Err(error) if is_unknown(&error) => {}
        Err(error) => bail!(error),
    }
    // An error has only room for some of their names.
    let asked = lines.into_iter().map(|(sku, lines)| async move {
        let request = GetProductRequest { sku: sku.clone() };
        match client.get_product(&request).await {
            Ok(_) => Ok(None),
            Err(error) if is_unknown(&error) => Ok(Some((sku, lines))),
            Err(error) => Err(error),
        }
    });
    let asked = stream::iter(asked).buffer_unordered(PRODUCT_CALLS);
    let unknown: Vec<_> = asked.try_collect().await?;
    Ok(unknown.into_iter().flatten().collect())
}

fn is_unknown(error: &ClientError) -> bool {
    error.has_reason(Reason::SkuNotFound)
}
