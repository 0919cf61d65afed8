//! ListStock.

use super::convert::Fields;
use super::page::{Tokens, level_key, page_size};
use crate::domain::{LevelKey, ServedFrom, Sku};
use crate::error::Error;
use crate::proto;
use crate::storage::{LevelFilter, Store};

pub(super) async fn list(
    store: &Store,
    request: &proto::ListStockRequest,
) -> Result<proto::ListStockResponse, Error> {
    let Asked {
        size,
        tokens,
        after,
    } = Asked::parse(request)?;
    let filter = LevelFilter {
        sku_prefix: &request.sku_prefix,
        location: None,
        low_only: request.low_only,
    };
    let (found, source) = if request.allow_stale {
        let read = store.list_levels_stale(after.as_ref(), &filter, size);
        read.await?
    } else {
        let read = store.list_levels(after.as_ref(), &filter, size);
        (read.await?, ServedFrom::Primary)
    };
    let next = found.next.map(|last| tokens.after(last));
    Ok(proto::ListStockResponse {
        levels: found.levels.iter().map(Into::into).collect(),
        next_page_token: next.unwrap_or_default(),
        served_from: proto::ServedFrom::from(source).into(),
    })
}

/// What one page of ListStock shows.
struct Asked {
    size: usize,
    tokens: Tokens,
    after: Option<LevelKey>,
}

impl Asked {
    fn parse(request: &proto::ListStockRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let filters = proto::ListStockRequest {
            page_size: 0,
            page_token: String::new(),
            allow_stale: false,
            ..request.clone()
        };
        let tokens = Tokens::of("ListStock", &filters);
        let size = page_size(&mut fields, request.page_size);
        fields.take("sku_prefix", Sku::check_prefix(&request.sku_prefix));
        let after = tokens.place(&mut fields, &request.page_token, level_key);
        fields.finish(Some(Self {
            size,
            tokens,
            after,
        }))
    }
}
