//! Between messages and domain values. A request that breaks a rule names every
//! field that breaks one.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use prost_types::Timestamp as PbTimestamp;
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::order_changes;
use super::page::PAGE_SIZE_MAX;
use crate::domain::{
    Counterpart, Invalid, KeyToRead, LevelKey, Location, Movement, NewOrder, NewOrderLine, Order,
    OrderId, OrderLine, Product, Quantity, RequestId, ServedFrom, Sku, StockLevel, Timestamp,
    Trace, Version, text_faults,
};
use crate::error::{Error, Violation};
use crate::proto;

/// Each is a row of the table by which orders are found, written by the commit that all
/// others wait for.
const LABELS_MAX: usize = 16;

/// With its value it is in that table's primary key: some 350 bytes of the 2,704 that
/// PostgreSQL takes of an entry, so that the index stays small.
const LABEL_KEY_BYTES_MAX: usize = 63;
const LABEL_VALUE_BYTES_MAX: usize = 255;

/// They are one transaction; as many as a page of ListProducts has.
const PRODUCTS_MAX: usize = PAGE_SIZE_MAX as usize;

/// As many as a page of ListStock has: one statement reads them, and the answer fits a message.
const BATCH_GET_KEYS_MAX: usize = PAGE_SIZE_MAX as usize;

/// Collects the violations of one request.
#[derive(Default)]
pub(super) struct Fields {
    violations: Vec<Violation>,
}

impl Fields {
    /// Keeps a value that fits, or writes down why it does not.
    pub(super) fn take<T>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, Invalid>,
    ) -> Option<T> {
        value
            .map_err(|invalid| self.refuse(field, invalid.to_string()))
            .ok()
    }

    pub(super) fn refuse(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation {
            field: field.into(),
            description: description.into(),
        });
    }

    /// A text for people, at most `bytes_max` long.
    pub(super) fn text(&mut self, field: &str, text: &str, bytes_max: usize) {
        for fault in text_faults(text, bytes_max) {
            self.refuse(field, fault.to_string());
        }
    }

    pub(super) fn count(&mut self, field: &str, count: usize, max: usize) {
        if !(1..=max).contains(&count) {
            self.refuse(field, format!("must have 1 to {max} entries, has {count}"));
        }
    }

    pub(super) fn version(&mut self, field: impl Into<String>, number: i64) -> Option<Version> {
        if number < 0 {
            self.refuse(field, format!("must be 0 or more, is {number}"));
            return None;
        }
        Some(Version::new(number))
    }

    /// A level's name; `prefix` is the path before `sku` and `location`.
    pub(super) fn key(&mut self, prefix: &str, sku: &str, location: &str) -> Option<LevelKey> {
        let sku = self.take(format!("{prefix}sku"), Sku::new(sku));
        let location = self.take(format!("{prefix}location"), Location::new(location));
        Some(LevelKey {
            sku: sku?,
            location: location?,
        })
    }

    /// The value if nothing was written down.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ => Err(Error::InvalidRequest(self.violations)),
        }
    }
}

pub(super) fn new_order(
    request: proto::CreateOrderRequest,
    hold_max: Duration,
) -> Result<NewOrder, Error> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", RequestId::new(request.request_id));
    fields.count("lines", request.lines.len(), NewOrder::LINES_MAX);
    // Beyond the bound the lines are not looked at: a hostile request stays cheap.
    let looked_at = request.lines.iter().take(NewOrder::LINES_MAX).enumerate();
    let lines: Vec<NewOrderLine> = looked_at
        .filter_map(|(i, line)| order_line(&mut fields, i, line))
        .collect();
    fields.text(
        "customer_ref",
        &request.customer_ref,
        NewOrder::CUSTOMER_REF_BYTES_MAX,
    );
    labels(&mut fields, &request.labels);
    let hold = request.hold.as_ref();
    let hold = hold.and_then(|length| order_changes::hold(&mut fields, length, hold_max));
    let order = request_id.map(|request_id| NewOrder {
        order_id: OrderId(Uuid::now_v7()),
        request_id,
        lines,
        customer_ref: request.customer_ref,
        labels: request.labels,
        hold,
    });
    fields.finish(order)
}

fn order_line(
    fields: &mut Fields,
    i: usize,
    line: &proto::OrderLineRequest,
) -> Option<NewOrderLine> {
    // The common case makes no field names.
    if let (Ok(sku), Ok(location), Ok(quantity)) = (
        Sku::new(line.sku.as_str()),
        Location::new(&line.location),
        Quantity::new(line.quantity),
    ) {
        let key = LevelKey { sku, location };
        return Some(NewOrderLine { key, quantity });
    }
    let prefix = format!("lines[{i}].");
    let key = fields.key(&prefix, &line.sku, &line.location);
    let quantity = fields.take(format!("{prefix}quantity"), Quantity::new(line.quantity));
    Some(NewOrderLine {
        key: key?,
        quantity: quantity?,
    })
}

pub(super) fn labels(fields: &mut Fields, labels: &BTreeMap<String, String>) {
    if labels.len() > LABELS_MAX {
        let given = labels.len();
        fields.refuse(
            "labels",
            format!("must have at most {LABELS_MAX} entries, has {given}"),
        );
    }
    for (key, value) in labels.iter().take(LABELS_MAX) {
        let shown = &key[..key.floor_char_boundary(LABEL_KEY_BYTES_MAX)];
        let field = format!("labels[{shown:?}]");
        if key.is_empty() {
            fields.refuse(&field, "must have a key");
        }
        fields.text(&format!("{field} key"), key, LABEL_KEY_BYTES_MAX);
        fields.text(&field, value, LABEL_VALUE_BYTES_MAX);
    }
}

pub(super) fn products(request: proto::PutProductsRequest) -> Result<Vec<Product>, Error> {
    let mut fields = Fields::default();
    fields.count("products", request.products.len(), PRODUCTS_MAX);
    let mut seen = HashSet::new();
    let mut products = Vec::new();
    for (i, product) in request.products.into_iter().take(PRODUCTS_MAX).enumerate() {
        let field = |name: &str| format!("products[{i}].{name}");
        let sku = fields.take(field("sku"), Sku::new(product.sku));
        fields.text(
            &field("display_name"),
            &product.display_name,
            Product::DISPLAY_NAME_BYTES_MAX,
        );
        let (threshold, max) = (product.low_stock_threshold, Product::THRESHOLD_UNITS_MAX);
        if !(0..=max).contains(&threshold) {
            let description = format!("must be 0 to {max}, is {threshold}");
            fields.refuse(field("low_stock_threshold"), description);
        }
        let (limit, max) = (product.backorder_limit, Product::BACKORDER_UNITS_MAX);
        if !(0..=max).contains(&limit) {
            let description = format!("must be 0 to {max}, is {limit}");
            fields.refuse(field("backorder_limit"), description);
        }
        let Some(sku) = sku else { continue };
        if !seen.insert(sku.clone()) {
            fields.refuse(field("sku"), format!("must come once, {sku} comes again"));
        }
        products.push(Product {
            sku,
            display_name: product.display_name,
            low_stock_threshold: threshold,
            backorder_limit: limit,
        });
    }
    fields.finish(Some(products))
}

/// The trace that a call belongs to, if it says so.
pub(super) fn trace(metadata: &MetadataMap) -> Option<Trace> {
    metadata.get("traceparent")?.to_str().ok()?.parse().ok()
}

pub(super) fn get_stock(request: &proto::GetStockRequest) -> Result<KeyToRead, Error> {
    let mut fields = Fields::default();
    let key = fields.key("", &request.sku, &request.location);
    let min_version = request
        .min_version
        .and_then(|number| fields.version("min_version", number));
    fields.finish(key.map(|key| (key, min_version)))
}

pub(super) fn batch_get_stock(
    request: &proto::BatchGetStockRequest,
) -> Result<Vec<KeyToRead>, Error> {
    let mut fields = Fields::default();
    fields.count("keys", request.keys.len(), BATCH_GET_KEYS_MAX);
    let mut keys = Vec::new();
    for (i, asked) in request.keys.iter().take(BATCH_GET_KEYS_MAX).enumerate() {
        let prefix = format!("keys[{i}].");
        let key = fields.key(&prefix, &asked.sku, &asked.location);
        let min_version = asked
            .min_version
            .and_then(|number| fields.version(format!("{prefix}min_version"), number));
        keys.extend(key.map(|key| (key, min_version)));
    }
    fields.finish(Some(keys))
}

pub(super) fn parse_order_id(text: &str) -> Result<OrderId, Invalid> {
    let id = Uuid::try_parse(text).map_err(|_| Invalid("must be a UUID".to_owned()));
    id.map(OrderId)
}

impl From<Timestamp> for PbTimestamp {
    fn from(time: Timestamp) -> Self {
        Self {
            seconds: time.us().div_euclid(1_000_000),
            nanos: time.us().rem_euclid(1_000_000) as i32 * 1_000,
        }
    }
}

impl From<ServedFrom> for proto::ServedFrom {
    fn from(source: ServedFrom) -> Self {
        match source {
            ServedFrom::Primary => Self::Primary,
            ServedFrom::Replica => Self::Replica,
            ServedFrom::Cache => Self::Cache,
        }
    }
}

impl From<&StockLevel> for proto::StockLevel {
    fn from(level: &StockLevel) -> Self {
        Self {
            sku: level.key.sku.to_string(),
            location: level.key.location.to_string(),
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available(),
            version: level.version.number(),
            low_stock: level.low_stock(),
            backorder_limit: level.backorder_limit,
            update_time: (level.version > Version::NONE).then(|| level.updated.into()),
        }
    }
}

impl From<&Movement> for proto::Movement {
    fn from(movement: &Movement) -> Self {
        Self {
            sku: movement.key.sku.to_string(),
            location: movement.key.location.to_string(),
            version: movement.version.number(),
            kind: movement.kind as i32,
            on_hand_delta: movement.on_hand_delta,
            reserved_delta: movement.reserved_delta,
            on_hand: movement.on_hand,
            reserved: movement.reserved,
            create_time: Some(movement.time.into()),
            order_id: movement
                .order_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            request_id: movement
                .request_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            note: movement.note.clone(),
            counterpart: movement.counterpart.as_ref().map(Into::into),
        }
    }
}

impl From<&Counterpart> for proto::MovementCounterpart {
    fn from(other: &Counterpart) -> Self {
        Self {
            location: other.location.to_string(),
            version: other.version.number(),
        }
    }
}

impl From<&Order> for proto::Order {
    fn from(order: &Order) -> Self {
        let moved = order.last_moved();
        let last = |line: &OrderLine| {
            let found = moved.binary_search_by_key(&&line.key, |(key, _)| *key);
            found.map_or(line.version, |place| moved[place].1)
        };
        let lines = order.lines.iter().map(|line| proto::OrderLine {
            sku: line.key.sku.to_string(),
            location: line.key.location.to_string(),
            quantity: line.quantity.units(),
            version: last(line).number(),
            backordered: line.backordered,
        });
        Self {
            order_id: order.order_id.to_string(),
            request_id: order.request_id.to_string(),
            // The numbers are those of the API.
            state: order.state as i32,
            lines: lines.collect(),
            customer_ref: order.customer_ref.clone(),
            labels: order.labels.clone(),
            create_time: Some(order.created.into()),
            update_time: Some(order.updated.into()),
            version: order.version,
            expire_time: order.expires.map(Into::into),
            cancel_reason: order.cancel_reason.clone(),
        }
    }
}
