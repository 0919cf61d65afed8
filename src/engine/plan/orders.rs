//! Planning orders.

use std::sync::Arc;

use super::Planner;
use super::known::Delta;
use crate::domain::{
    LevelKey, MovementKind, NewOrder, Order, OrderLine, OrderState, Trace, Version,
};
use crate::error::{Error, Shortfall};

impl Planner {
    pub(super) fn create_order(
        &mut self,
        new: &NewOrder,
        trace: Trace,
    ) -> Result<Arc<Order>, Error> {
        let mut takes = sum_lines(new);
        self.require_known(takes.iter().map(|take| take.key))?;
        let short: Vec<Shortfall> = takes
            .iter()
            .filter_map(|take| {
                let level = self.level(take.key);
                (!level.can_take(take.units)).then(|| Shortfall {
                    key: take.key.clone(),
                    requested: take.units,
                    available: level.available(),
                    backorder_limit: level.backorder_limit,
                })
            })
            .collect();
        if !short.is_empty() {
            return Err(self.short_of(short));
        }
        for take in &mut takes {
            take.there = self.level(take.key).available().max(0);
            let (kind, delta) = match &new.hold {
                None => (MovementKind::Ordered, Delta::on_hand(-take.units)),
                Some(_) => (MovementKind::Reserved, Delta::reserved(take.units)),
            };
            let mut movement = self.step(take.key, kind, delta, trace);
            movement.order_id = Some(new.order_id);
            take.version = movement.version;
            self.writes.movements.push(Arc::new(movement));
        }
        let lines = new.lines.iter().map(|line| {
            let place = takes.binary_search_by(|take| take.key.cmp(&line.key));
            let take = &mut takes[place.expect("every line was summed")];
            // What there is goes to the lines in their order.
            let covered = take.there.min(line.quantity.units());
            take.there -= covered;
            OrderLine {
                key: line.key.clone(),
                quantity: line.quantity,
                version: take.version,
                backordered: line.quantity.units() - covered,
            }
        });
        let order = Arc::new(Order {
            order_id: new.order_id,
            request_id: new.request_id.clone(),
            state: match new.hold {
                None => OrderState::Confirmed,
                Some(_) => OrderState::Pending,
            },
            lines: lines.collect(),
            customer_ref: new.customer_ref.clone(),
            labels: new.labels.clone(),
            created: self.now,
            updated: self.now,
            version: 1,
            expires: new.hold.map(|hold| hold.expires),
            cancel_reason: String::new(),
            moved: Vec::new(),
        });
        self.writes.orders.push(Arc::clone(&order));
        if let Some(draft) = &mut self.draft {
            draft.order_created(&order, trace);
        }
        Ok(order)
    }
}

/// What an order takes of one level.
struct Take<'a> {
    key: &'a LevelKey,
    units: i64,
    /// The version that it makes; none before it is made.
    version: Version,
    /// Units that are available and not given to a line yet.
    there: i64,
}

/// What an order takes of each level, in ascending order of the keys. Two lines of one
/// level are one take: checked apart, they could oversell.
fn sum_lines(new: &NewOrder) -> Vec<Take<'_>> {
    let mut takes: Vec<Take<'_>> = new
        .lines
        .iter()
        .map(|line| Take {
            key: &line.key,
            units: line.quantity.units(),
            version: Version::NONE,
            there: 0,
        })
        .collect();
    takes.sort_unstable_by_key(|take| take.key);
    takes.dedup_by(|later, first| {
        let same = later.key == first.key;
        if same {
            first.units += later.units;
        }
        same
    });
    takes
}
