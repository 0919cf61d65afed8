//! AdjustStock, BatchAdjustStock, CountStock and TransferStock: one way through the
//! engine, four forms of request.

use std::collections::HashSet;

use tonic::Status;
use tonic::metadata::MetadataMap;
use tracing::error_span;

use super::convert::{self, Fields};
use super::status::about;
use super::stock::Inventory;
use super::turn_down;
use crate::domain::{
    Adjustment, AdjustmentCall, Adjustments, Change, LevelKey, Location, MovementKind, RequestId,
    Sku, StockLevel,
};
use crate::engine::{Command, Done};
use crate::error::Error;
use crate::proto::{
    self, adjust_stock_request::Change as Asked, stock_adjustment::Change as AskedInBatch,
};

/// Most lines of a transfer; each is two changes.
const TRANSFER_LINES_MAX: usize = Adjustments::CHANGES_MAX / 2;

/// What was done, as the answers tell it.
pub(super) struct Adjusted {
    pub(super) levels: Vec<proto::StockLevel>,
    pub(super) movements: Vec<proto::Movement>,
    pub(super) replayed: bool,
}

impl Inventory {
    /// Carries out what `parse` makes of a request with this metadata, or says what would
    /// become of it.
    pub(super) async fn adjust(
        &self,
        metadata: &MetadataMap,
        validate_only: bool,
        parse: impl FnOnce() -> Result<Adjustments, Error>,
    ) -> Result<Adjusted, Status> {
        if validate_only {
            self.gate.pass()?;
            let asked = parse()?;
            let request_id = asked.request_id.clone();
            // On the heap: it would make the future of every change as large.
            let done = Box::pin(self.engine.validate(Command::AdjustStock(asked))).await;
            return Ok(Adjusted::of(
                done.map_err(about("validate_adjustment", request_id))?,
            ));
        }
        let outcomes = &self.counters.adjustments;
        let refuse = turn_down(outcomes);
        self.gate.pass().map_err(refuse)?;
        let trace = convert::trace(metadata);
        let asked = parse().map_err(refuse)?;
        let request_id = asked.request_id.clone();
        let fail = |error| error_span!("adjust_stock", %request_id).in_scope(|| refuse(error));
        let done = self.engine.submit(Command::AdjustStock(asked), trace).await;
        let adjusted = Adjusted::of(done.map_err(fail)?);
        if adjusted.replayed {
            outcomes.replayed.add(1);
        }
        Ok(adjusted)
    }
}

impl Adjusted {
    fn of(done: Done) -> Self {
        let Done::Adjusted {
            movements,
            levels,
            replayed,
        } = done
        else {
            unreachable!("plan answers each command in its kind")
        };
        Self {
            levels: levels.iter().map(Into::into).collect(),
            movements: movements.iter().map(|m| (&**m).into()).collect(),
            replayed,
        }
    }
}

pub(super) fn adjust(request: proto::AdjustStockRequest) -> Result<Adjustments, Error> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", RequestId::new(request.request_id));
    let change = match request.change {
        Some(Asked::Delta(units)) => Some(Change::Delta(units)),
        Some(Asked::SetOnHand(units)) => Some(Change::SetOnHand(units)),
        None => None,
    };
    let change = fields.adjustment(
        "",
        proto::StockAdjustment {
            sku: request.sku,
            location: request.location,
            change: None,
            kind: request.kind,
            note: request.note,
            expected_version: request.expected_version,
        },
        change,
    );
    made(
        fields,
        request_id,
        AdjustmentCall::Adjust,
        change.into_iter().collect(),
    )
}

pub(super) fn batch(request: proto::BatchAdjustStockRequest) -> Result<Adjustments, Error> {
    const MAX: usize = Adjustments::CHANGES_MAX;
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", RequestId::new(request.request_id));
    fields.count("adjustments", request.adjustments.len(), MAX);
    let mut changes = Vec::with_capacity(request.adjustments.len().min(MAX));
    // Beyond the bound they are not looked at: a hostile request stays cheap.
    for (i, asked) in request.adjustments.into_iter().take(MAX).enumerate() {
        let change = match asked.change {
            Some(AskedInBatch::Delta(units)) => Some(Change::Delta(units)),
            Some(AskedInBatch::SetOnHand(units)) => Some(Change::SetOnHand(units)),
            None => None,
        };
        changes.extend(fields.adjustment(&format!("adjustments[{i}]."), asked, change));
    }
    made(fields, request_id, AdjustmentCall::Batch, changes)
}

pub(super) fn count(request: proto::CountStockRequest) -> Result<Adjustments, Error> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", RequestId::new(request.request_id));
    if request.expected_version.is_none() {
        fields.refuse(
            "expected_version",
            "must be given: the version that was read before the count",
        );
    }
    let key = fields.key("", &request.sku, &request.location);
    fields.on_hand("on_hand", request.on_hand);
    fields.text("note", &request.note, Adjustment::NOTE_BYTES_MAX);
    let expected_version = request
        .expected_version
        .and_then(|number| fields.version("expected_version", number));
    let change = key.map(|key| Adjustment {
        key,
        change: Change::SetOnHand(request.on_hand),
        kind: MovementKind::Count,
        note: request.note,
        expected_version,
    });
    made(
        fields,
        request_id,
        AdjustmentCall::Count,
        change.into_iter().collect(),
    )
}

pub(super) fn transfer(request: proto::TransferStockRequest) -> Result<Adjustments, Error> {
    let mut fields = Fields::default();
    let request_id = fields.take("request_id", RequestId::new(request.request_id));
    let from = fields.take("from_location", Location::new(&request.from_location));
    let to = fields.take("to_location", Location::new(&request.to_location));
    if let (Some(from), Some(to)) = (&from, &to)
        && from == to
    {
        fields.refuse("to_location", format!("must not be from_location, {from}"));
    }
    fields.count("lines", request.lines.len(), TRANSFER_LINES_MAX);
    fields.text("note", &request.note, Adjustment::NOTE_BYTES_MAX);
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for (i, line) in request.lines.iter().take(TRANSFER_LINES_MAX).enumerate() {
        let field = |name: &str| format!("lines[{i}].{name}");
        let (units, max) = (line.quantity, Adjustment::DELTA_MAX);
        if !(1..=max).contains(&units) {
            fields.refuse(field("quantity"), format!("must be 1 to {max}, is {units}"));
        }
        let Some(sku) = fields.take(field("sku"), Sku::new(line.sku.as_str())) else {
            continue;
        };
        if !seen.insert(sku.clone()) {
            fields.refuse(field("sku"), format!("must come once, {sku} comes again"));
        }
        lines.push((sku, units));
    }
    let half = |sku: &Sku, location: &Location, units, kind| Adjustment {
        key: LevelKey {
            sku: sku.clone(),
            location: location.clone(),
        },
        change: Change::Delta(units),
        kind,
        note: request.note.clone(),
        expected_version: None,
    };
    let changes = from.zip(to).map(|(from, to)| {
        let halves = lines.iter().flat_map(|(sku, units)| {
            [
                half(sku, &from, -units, MovementKind::TransferredOut),
                half(sku, &to, *units, MovementKind::TransferredIn),
            ]
        });
        halves.collect()
    });
    let changes = changes.unwrap_or_default();
    made(fields, request_id, AdjustmentCall::Transfer, changes)
}

/// The request, if nothing was written down against it.
fn made(
    fields: Fields,
    request_id: Option<RequestId>,
    call: AdjustmentCall,
    changes: Vec<Adjustment>,
) -> Result<Adjustments, Error> {
    fields.finish(request_id.map(|request_id| Adjustments {
        request_id,
        call,
        changes,
    }))
}

impl Fields {
    /// One change of one level; `prefix` is the path before its fields. `change` is what
    /// `asked` has, whose type depends on the request.
    fn adjustment(
        &mut self,
        prefix: &str,
        asked: proto::StockAdjustment,
        change: Option<Change>,
    ) -> Option<Adjustment> {
        let field = |name: &str| format!("{prefix}{name}");
        let key = self.key(prefix, &asked.sku, &asked.location);
        let kind = self.take(field("kind"), MovementKind::of_adjustment(asked.kind));
        match change {
            Some(Change::Delta(units)) => {
                self.take(field("delta"), Adjustment::check_delta(units));
            }
            Some(Change::SetOnHand(units)) => self.on_hand(&field("set_on_hand"), units),
            None => self.refuse(field("change"), "must be delta or set_on_hand"),
        }
        self.text(&field("note"), &asked.note, Adjustment::NOTE_BYTES_MAX);
        let expected_version = asked
            .expected_version
            .and_then(|number| self.version(field("expected_version"), number));
        Some(Adjustment {
            key: key?,
            change: change?,
            kind: kind?,
            note: asked.note,
            expected_version,
        })
    }

    /// What a level's `on_hand` may be set to: below 0 where units are owed.
    fn on_hand(&mut self, field: &str, units: i64) {
        let (min, max) = (StockLevel::ON_HAND_MIN, StockLevel::UNITS_MAX);
        if !(min..=max).contains(&units) {
            self.refuse(field, format!("must be {min} to {max}, is {units}"));
        }
    }
}
