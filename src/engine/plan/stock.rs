//! Planning what changes stock for another reason than an order.

use std::collections::HashMap;
use std::sync::Arc;

use super::known::Known;
use super::{Events, Planner};
use crate::domain::{
    Adjustment, Change, Movement, MovementKind, Product, Sku, StockLevel, Timestamp, Trace, Writes,
};
use crate::error::{Error, Shortfall, Violation};
use crate::events::Draft;

impl Planner {
    pub(super) fn adjust_stock(
        &mut self,
        adjustment: &Adjustment,
        trace: Trace,
    ) -> Result<(Arc<Movement>, StockLevel), Error> {
        let key = &adjustment.key;
        self.require_known(std::iter::once(key))?;
        let level = self.level(key);
        if let Some(expected) = adjustment.expected_version
            && expected != level.version
        {
            return Err(Error::VersionMismatch {
                key: key.clone(),
                expected,
                actual: level.version,
            });
        }
        let (delta, field) = match adjustment.change {
            Change::Delta(delta) => (delta, "delta"),
            Change::SetOnHand(on_hand) => (on_hand - level.on_hand, "set_on_hand"),
        };
        if level.on_hand + delta < level.reserved {
            return Err(Error::InsufficientStock(vec![Shortfall {
                key: key.clone(),
                requested: -delta,
                available: level.available(),
            }]));
        }
        if level.on_hand + delta > StockLevel::UNITS_MAX {
            return Err(Error::InvalidRequest(vec![Violation {
                field: field.to_owned(),
                description: format!(
                    "must leave on_hand at or below {}, it is {}",
                    StockLevel::UNITS_MAX,
                    level.on_hand
                ),
            }]));
        }
        let mut movement = self.step(key, adjustment.kind, delta, trace);
        movement.request_id = Some(adjustment.request_id.clone());
        movement.note.clone_from(&adjustment.note);
        let movement = Arc::new(movement);
        self.writes.movements.push(Arc::clone(&movement));
        Ok((movement, self.level(key).clone()))
    }
}

/// Plans the THRESHOLD movements of `levels` after their products changed; `trace` is of
/// whoever changed them.
pub(in crate::engine) fn plan_thresholds(
    levels: Vec<StockLevel>,
    products: &[&Product],
    now: Timestamp,
    trace: Trace,
    events: Events,
) -> Writes {
    let thresholds: HashMap<&Sku, i64> = products
        .iter()
        .map(|product| (&product.sku, product.low_stock_threshold))
        .collect();
    let mut writes = Writes {
        time: now,
        ..Writes::default()
    };
    let mut draft = events.draft();
    for level in levels {
        let Some(&threshold) = thresholds.get(&level.key.sku) else {
            continue;
        };
        let mut known = Known::new(level, true);
        known.level.low_stock_threshold = threshold;
        let movement = known.step(MovementKind::Threshold, 0, now);
        writes.movements.push(Arc::new(movement));
        if let Some(draft) = &mut draft {
            known.trace = Some(trace);
            draft.stock_changed(&known.change());
        }
        writes.levels.push(known.into_write());
    }
    writes.outbox = draft.map(Draft::finish);
    writes
}
