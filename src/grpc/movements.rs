//! Reading the ledger: ListMovements, by level, order or time, and the movements of an
//! order for GetOrder.

use super::convert::{self, Fields};
use super::mask::Mask;
use super::page::{MovementPlace, Tokens, movement, page_size, times, version};
use crate::domain::{LevelKey, LoadedLevel, Order, OrderId, Timestamp, Version};
use crate::error::Error;
use crate::proto::{self, list_movements_request::Scope};
use crate::storage::{MovementPage, OrderParts, Store, TimePlace};

pub(super) async fn list(
    store: &Store,
    request: &proto::ListMovementsRequest,
) -> Result<proto::ListMovementsResponse, Error> {
    let Asked {
        size,
        tokens,
        scope,
        mask,
    } = Asked::parse(request)?;
    let (movements, next) = match &scope {
        Whose::Level(key, after, None) => {
            let page = of_level(store, key, *after, size).await?;
            let next = page.movements.last().filter(|_| page.more);
            let next = next.map(|last| tokens.after(last.version));
            (page.movements, next)
        }
        Whose::Level(key, after, Some(times)) => {
            let page = store.list_level_movements_by_time(key, *times, *after, size);
            let page = page.await?;
            if page.movements.is_empty() {
                must_be_known(store, key).await?;
            }
            (page.movements, page.next.map(|last| tokens.after(last)))
        }
        Whose::Order(id, after) => {
            let lines_alone = OrderParts {
                lines: true,
                labels: false,
            };
            let order = store.find_order(*id, lines_alone).await?;
            let order = order.ok_or_else(|| Error::OrderNotFound(id.to_string()))?;
            let page = store.list_order_movements(&order, after.as_ref(), size);
            let page = page.await?;
            let next = page.movements.last().filter(|_| page.more);
            let next = next.map(|last| tokens.after(MovementPlace(&last.key, last.version)));
            (page.movements, next)
        }
        Whose::All((from, until), after) => {
            let page = store.list_movements_by_time(*from, *until, after.as_ref(), size);
            let page = page.await?;
            let next = page.next.as_ref().map(|place| tokens.after(shown(place)));
            (page.movements, next)
        }
    };
    Ok(proto::ListMovementsResponse {
        movements: movements.iter().map(|it| mask.of(it)).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// A place in the list by time, as [`time_place`] reads it.
fn shown(place: &TimePlace) -> String {
    let time = place.time.us();
    let [filed, at] = [&place.filed, &place.at].map(|(key, version)| MovementPlace(key, *version));
    format!("{time} {filed} {at}")
}

fn time_place(place: &str) -> Option<TimePlace> {
    let (time, rest) = place.split_once(' ')?;
    let (filed, at) = rest.split_once(' ')?;
    Some(TimePlace {
        time: Timestamp::from_us(time.parse().ok()?),
        filed: movement(filed)?,
        at: movement(at)?,
    })
}

/// All movements of an order.
pub(super) async fn of_order(store: &Store, order: &Order) -> Result<Vec<proto::Movement>, Error> {
    let page = store.list_order_movements(order, None, Order::MOVEMENTS_MAX);
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
        must_be_known(store, key).await?;
    }
    Ok(page)
}

async fn must_be_known(store: &Store, key: &LevelKey) -> Result<(), Error> {
    let level = store.read_levels(std::slice::from_ref(key)).await?;
    // A product that was deleted has left its history behind.
    let is_there = |it: &LoadedLevel| it.sku_known || it.level.version > Version::NONE;
    if level.iter().all(is_there) {
        Ok(())
    } else {
        Err(Error::SkuNotFound(vec![key.sku.clone()]))
    }
}

/// What one page of ListMovements shows.
struct Asked {
    size: usize,
    tokens: Tokens,
    scope: Whose,
    mask: Mask<proto::Movement>,
}

/// At or after the first, and before the second.
type Times = (Timestamp, Timestamp);

/// Whose movements, and where the page begins.
enum Whose {
    /// Of a level, above a version; of all times or of some.
    Level(LevelKey, Version, Option<Times>),
    /// Of an order, after one of them.
    Order(OrderId, Option<(LevelKey, Version)>),
    /// Of all levels, by time.
    All(Times, Option<TimePlace>),
}

impl Asked {
    fn parse(request: &proto::ListMovementsRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let filters = proto::ListMovementsRequest {
            page_size: 0,
            page_token: String::new(),
            read_mask: None,
            ..request.clone()
        };
        let tokens = Tokens::of("ListMovements", &filters);
        let size = page_size(&mut fields, request.page_size);
        let token = request.page_token.as_str();
        let (from, until) = times(&mut fields, request.start_time, request.end_time);
        let of_times = from.is_some() || until.is_some();
        // Nothing was made before, and nothing has been made then.
        let times = (
            from.unwrap_or(Timestamp::from_us(i64::MIN)),
            until.unwrap_or(Timestamp::from_us(i64::MAX)),
        );
        let after = fields.version("after_version", request.after_version);
        let alone = |fields: &mut Fields| {
            if request.after_version != 0 {
                fields.refuse("after_version", "goes with level alone");
            }
        };
        let scope = match &request.scope {
            Some(Scope::Level(level)) => {
                let key = fields.key("level.", &level.sku, &level.location);
                let token = tokens.place(&mut fields, token, version);
                key.zip(token.or(after))
                    .map(|(key, after)| Whose::Level(key, after, of_times.then_some(times)))
            }
            Some(Scope::OrderId(text)) => {
                alone(&mut fields);
                for (field, given) in [("start_time", from), ("end_time", until)] {
                    if given.is_some() {
                        fields.refuse(field, "does not go with order_id");
                    }
                }
                let id = fields.take("order_id", convert::parse_order_id(text));
                let after = tokens.place(&mut fields, token, movement);
                id.map(|id| Whose::Order(id, after))
            }
            None => {
                alone(&mut fields);
                let after = tokens.place(&mut fields, token, time_place);
                Some(Whose::All(times, after))
            }
        };
        let mask = Mask::parse(&mut fields, request.read_mask.as_ref());
        fields.finish(scope.map(|scope| Self {
            size,
            tokens,
            scope,
            mask,
        }))
    }
}
