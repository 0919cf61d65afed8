//! Reading the ledger: ListMovements, and the movements of an order for GetOrder.

use super::convert::{self, Fields};
use super::page::{Tokens, level_key, page_size};
use crate::domain::{LevelKey, LoadedLevel, NewOrder, Order, OrderId, Version};
use crate::error::Error;
use crate::proto::{self, list_movements_request::Scope};
use crate::storage::{MovementPage, Store};

pub(super) async fn list(
    store: &Store,
    request: &proto::ListMovementsRequest,
) -> Result<proto::ListMovementsResponse, Error> {
    let asked = Asked::parse(request)?;
    let (page, next) = match &asked.scope {
        Whose::Level(key, after) => {
            let page = of_level(store, key, *after, asked.size).await?;
            let next = page.movements.last();
            let next = next.map(|last| asked.tokens.after(last.version));
            (page, next)
        }
        Whose::Order(id, after) => {
            let order = store.find_order(*id).await?;
            let order = order.ok_or_else(|| Error::OrderNotFound(id.to_string()))?;
            let page = store.list_order_movements(&order, after.as_ref(), asked.size);
            let page = page.await?;
            let next = page.movements.last();
            let next = next.map(|last| asked.tokens.after(&last.key));
            (page, next)
        }
    };
    Ok(proto::ListMovementsResponse {
        movements: page.movements.iter().map(Into::into).collect(),
        next_page_token: next.filter(|_| page.more).unwrap_or_default(),
    })
}

/// All movements of an order, which has no more of them than lines.
pub(super) async fn of_order(store: &Store, order: &Order) -> Result<Vec<proto::Movement>, Error> {
    let page = store.list_order_movements(order, None, NewOrder::LINES_MAX);
    Ok(page.await?.movements.iter().map(Into::into).collect())
}

async fn of_level(
    store: &Store,
    key: &LevelKey,
    after: Version,
    size: usize,
) -> Result<MovementPage, Error> {
    let page = store.list_movements(key, after, size).await?;
    if page.movements.is_empty() {
        let level = store.read_levels(std::slice::from_ref(key)).await?;
        // A product that was deleted has left its history behind.
        let is_there = |it: &LoadedLevel| it.sku_known || it.level.version > Version::NONE;
        if !level.iter().all(is_there) {
            return Err(Error::SkuNotFound(vec![key.sku.clone()]));
        }
    }
    Ok(page)
}

/// What one page of ListMovements shows.
struct Asked {
    size: usize,
    tokens: Tokens,
    scope: Whose,
}

/// Whose movements, and where the page begins.
enum Whose {
    /// Of a level, above a version.
    Level(LevelKey, Version),
    /// Of an order, after a level.
    Order(OrderId, Option<LevelKey>),
}

impl Asked {
    fn parse(request: &proto::ListMovementsRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let filters = proto::ListMovementsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let tokens = Tokens::of("ListMovements", &filters);
        let size = page_size(&mut fields, request.page_size);
        let token = request.page_token.as_str();
        let after = fields.version("after_version", request.after_version);
        let scope = match &request.scope {
            Some(Scope::Level(level)) => {
                let key = fields.key("level.", &level.sku, &level.location);
                let version = |place: &str| place.parse().ok().filter(|number| *number > 0);
                let token = tokens.place(&mut fields, token, version).map(Version::new);
                key.zip(token.or(after))
                    .map(|(key, after)| Whose::Level(key, after))
            }
            Some(Scope::OrderId(text)) => {
                if request.after_version != 0 {
                    fields.refuse("after_version", "goes with level alone");
                }
                let id = fields.take("order_id", convert::parse_order_id(text));
                let after = tokens.place(&mut fields, token, level_key);
                id.map(|id| Whose::Order(id, after))
            }
            None => {
                fields.refuse("scope", "must be level or order_id");
                None
            }
        };
        fields.finish(scope.map(|scope| Self {
            size,
            tokens,
            scope,
        }))
    }
}
