//! Reads what is exported, page by page, and makes rows of it.

use futures_util::{StreamExt as _, stream};

use super::output::{Output, Place};
use super::{Selection, What};
use crate::cli::print::{kind, time};
use crate::cli::sheet::{self, guarded};
use crate::client::proto::list_movements_request::Scope;
use crate::client::proto::{
    ListMovementsRequest, ListMovementsResponse, ListProductsRequest, ListStockRequest, Movement,
    Product, StockKey, StockLevel,
};
use crate::client::{ClientError, Retrying};

/// Rows that are asked for at a time; the API's bound.
const PAGE_ROWS: i32 = 1_000;

/// Levels whose movements are asked for at a time: most have few, so that an export would
/// wait for the way to the server and not for what is there.
const LEVELS_AHEAD: usize = 16;

/// Asks for what an export begins with: what the server refuses it refuses here.
pub(super) async fn ask(client: &Retrying, selection: &Selection) -> Result<(), ClientError> {
    match (selection.what, &selection.level) {
        (What::Products, _) => {
            let request = ListProductsRequest {
                page_size: PAGE_ROWS,
                sku_prefix: selection.sku_prefix.clone(),
                ..ListProductsRequest::default()
            };
            client.list_products(&request).await?;
        }
        (What::Movements, Some(level)) => {
            movements(client, key(level), selection.after).await?;
        }
        (What::Levels | What::Movements, _) => {
            client.list_stock(&list(selection, String::new())).await?;
        }
    }
    Ok(())
}

/// Writes all that is asked for from `begin` on.
pub(super) async fn write(
    client: &Retrying,
    selection: &Selection,
    begin: Place,
    output: &mut Output,
) -> anyhow::Result<()> {
    if !output.has_begun() {
        let header = match selection.what {
            What::Products => sheet::PRODUCTS,
            What::Levels => sheet::LEVELS,
            What::Movements => sheet::LEDGER,
        };
        let header = rows(std::iter::once(header))?;
        output.write(&header, 0, begin.clone())?;
    }
    match (selection.what, &selection.level) {
        _ if begin.done => Ok(()),
        (What::Products, _) => products(client, selection, begin, output).await,
        (What::Levels, _) => levels(client, selection, begin, output).await,
        (What::Movements, None) => ledger(client, selection, begin, output).await,
        (What::Movements, Some(level)) => {
            let after = begin
                .level
                .map_or(selection.after, |(_, _, version)| version);
            let key = key(level);
            let page = movements(client, key.clone(), after).await?;
            history(client, &key, page, "", output).await
        }
    }
}

fn key((sku, location): &(String, String)) -> StockKey {
    StockKey {
        sku: sku.clone(),
        location: location.clone(),
    }
}

async fn products(
    client: &Retrying,
    selection: &Selection,
    begin: Place,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut request = ListProductsRequest {
        page_size: PAGE_ROWS,
        page_token: begin.page_token,
        sku_prefix: selection.sku_prefix.clone(),
    };
    loop {
        let page = client.list_products(&request).await?;
        request.page_token = page.next_page_token;
        let next = Place::after_page(&request.page_token);
        let text = rows(page.products.iter().map(product))?;
        output.write(&text, page.products.len(), next)?;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
}

fn product(product: &Product) -> [String; 4] {
    [
        guarded(&product.sku).into_owned(),
        guarded(&product.display_name).into_owned(),
        product.low_stock_threshold.to_string(),
        product.backorder_limit.to_string(),
    ]
}

async fn levels(
    client: &Retrying,
    selection: &Selection,
    begin: Place,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut page_token = begin.page_token;
    loop {
        let page = client.list_stock(&list(selection, page_token)).await?;
        page_token = page.next_page_token;
        let next = Place::after_page(&page_token);
        let text = rows(page.levels.iter().map(level))?;
        output.write(&text, page.levels.len(), next)?;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

fn list(selection: &Selection, page_token: String) -> ListStockRequest {
    ListStockRequest {
        page_size: PAGE_ROWS,
        page_token,
        sku_prefix: selection.sku_prefix.clone(),
        ..ListStockRequest::default()
    }
}

fn level(level: &StockLevel) -> [String; 7] {
    [
        guarded(&level.sku).into_owned(),
        guarded(&level.location).into_owned(),
        level.on_hand.to_string(),
        level.reserved.to_string(),
        level.available.to_string(),
        level.version.to_string(),
        time(level.update_time.as_ref()),
    ]
}

/// The movements of every level, level by level.
async fn ledger(
    client: &Retrying,
    selection: &Selection,
    begin: Place,
    output: &mut Output,
) -> anyhow::Result<()> {
    // A level that is new meanwhile moves those behind it to later pages, so that what was
    // written already can turn up on any of them.
    let (mut page_token, done) = (begin.page_token, begin.level);
    loop {
        let page = client
            .list_stock(&list(selection, page_token.clone()))
            .await?;
        let is_left = |level: &StockLevel| match &done {
            Some((sku, location, _)) => (&level.sku, &level.location) >= (sku, location),
            None => true,
        };
        let after = |level: &StockLevel| match &done {
            Some((sku, location, version)) if (&level.sku, &level.location) == (sku, location) => {
                *version
            }
            _ => 0,
        };
        let pages = page.levels.into_iter().filter(is_left).map(|level| {
            let after = after(&level);
            let key = StockKey {
                sku: level.sku,
                location: level.location,
            };
            async move { (key.clone(), movements(client, key, after).await) }
        });
        let mut pages = stream::iter(pages).buffered(LEVELS_AHEAD);
        while let Some((key, page)) = pages.next().await {
            history(client, &key, page?, &page_token, output).await?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// A level's movements from a first page on. `page_token` is that of the page of levels
/// that it is on.
async fn history(
    client: &Retrying,
    key: &StockKey,
    mut page: ListMovementsResponse,
    page_token: &str,
    output: &mut Output,
) -> anyhow::Result<()> {
    while let Some(last) = page.movements.last().map(|last| last.version) {
        let next = Place {
            page_token: page_token.to_owned(),
            done: false,
            level: Some((key.sku.clone(), key.location.clone(), last)),
        };
        let text = rows(page.movements.iter().map(movement))?;
        output.write(&text, page.movements.len(), next)?;
        if page.next_page_token.is_empty() {
            break;
        }
        page = movements(client, key.clone(), last).await?;
    }
    Ok(())
}

async fn movements(
    client: &Retrying,
    level: StockKey,
    after_version: i64,
) -> Result<ListMovementsResponse, ClientError> {
    let request = ListMovementsRequest {
        page_size: PAGE_ROWS,
        scope: Some(Scope::Level(level)),
        after_version,
        ..ListMovementsRequest::default()
    };
    client.list_movements(&request).await
}

fn movement(movement: &Movement) -> [String; 14] {
    let counterpart = movement.counterpart.as_ref();
    let other_location = counterpart.map_or("", |other| &other.location);
    let other_version = counterpart.map(|other| other.version.to_string());
    [
        guarded(&movement.sku).into_owned(),
        guarded(&movement.location).into_owned(),
        movement.version.to_string(),
        kind(movement.kind()).to_owned(),
        movement.on_hand_delta.to_string(),
        movement.reserved_delta.to_string(),
        movement.on_hand.to_string(),
        movement.reserved.to_string(),
        time(movement.create_time.as_ref()),
        movement.order_id.clone(),
        guarded(&movement.request_id).into_owned(),
        guarded(&movement.note).into_owned(),
        guarded(other_location).into_owned(),
        other_version.unwrap_or_default(),
    ]
}

/// Rows as they stand in a file.
fn rows<Row>(rows: impl IntoIterator<Item = Row>) -> anyhow::Result<Vec<u8>>
where
    Row: IntoIterator,
    Row::Item: AsRef<[u8]>,
{
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.into_inner()?)
}
