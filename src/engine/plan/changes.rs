//! Planning what becomes of orders: confirmed, cancelled, held for longer, expired.
//!
//! The state of an order decides, and its version guards that state: of all who would end
//! one hold, the first to commit does, and the others find it ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Planner;
use super::known::Delta;
use crate::domain::{
    LevelKey, MovementKind, Order, OrderChange, OrderState, StockLevel, Trace, Transition, Version,
};
use crate::error::{Error, Violation};

impl Planner {
    pub(super) fn change_order(
        &mut self,
        change: &OrderChange,
        trace: Trace,
    ) -> Result<Arc<Order>, Error> {
        let order_id = change.order.order_id;
        // It was there when it was asked for; somebody may have taken its row away since.
        let Some(known) = self.orders.get(&order_id) else {
            return Err(Error::OrderNotFound(order_id.to_string()));
        };
        let before = Arc::clone(&known.after);
        let mut after = (*before).clone();
        after.version += 1;
        after.updated = self.now;
        let unfit = || Error::OrderState {
            order_id: before.order_id,
            state: before.state,
        };
        match (&change.transition, before.state) {
            (Transition::Confirm, OrderState::Pending) => {
                let moved = self.confirm(&before, trace);
                after.end(OrderState::Confirmed, moved);
            }
            (Transition::Cancel { reason, restock }, _) => {
                let moved = match before.state {
                    OrderState::Pending => {
                        self.release(&before, MovementKind::Cancelled, reason, trace)
                    }
                    OrderState::Confirmed if *restock => self.restock(&before, reason, trace)?,
                    OrderState::Confirmed => Vec::new(),
                    OrderState::Cancelled | OrderState::Expired => return Err(unfit()),
                };
                after.cancel_reason.clone_from(reason);
                after.end(OrderState::Cancelled, moved);
            }
            (Transition::Extend(hold), OrderState::Pending) => {
                after.expires = before.expires.max(Some(hold.expires));
            }
            (Transition::Expire(moment), OrderState::Pending)
                if before.expires <= Some(*moment) =>
            {
                let moved = self.release(&before, MovementKind::Expired, "", trace);
                after.end(OrderState::Expired, moved);
            }
            _ => return Err(unfit()),
        }
        let after = Arc::new(after);
        if let Some(draft) = &mut self.draft
            && after.state != before.state
        {
            draft.order_changed(&before, &after, trace);
        }
        let known = self.orders.get_mut(&after.order_id);
        known.expect("it was looked up").after = Arc::clone(&after);
        Ok(after)
    }

    fn confirm(&mut self, order: &Order, trace: Trace) -> Vec<Version> {
        let units = order.units_by_level();
        self.move_all(order, units, MovementKind::Confirmed, "", trace, |units| {
            Delta {
                on_hand: -units,
                reserved: -units,
            }
        })
    }

    fn release(
        &mut self,
        order: &Order,
        kind: MovementKind,
        note: &str,
        trace: Trace,
    ) -> Vec<Version> {
        let units = order.units_by_level();
        let delta = |units: i64| Delta::reserved(-units);
        self.move_all(order, units, kind, note, trace, delta)
    }

    fn restock(
        &mut self,
        order: &Order,
        reason: &str,
        trace: Trace,
    ) -> Result<Vec<Version>, Error> {
        let units = order.units_by_level();
        // A product may have been deleted since.
        self.require_known(units.keys().copied())?;
        let too_many = units
            .iter()
            .filter(|(key, units)| self.level(key).on_hand + **units > StockLevel::UNITS_MAX);
        let too_many = too_many.map(|(key, units)| Violation {
            field: "restock".to_owned(),
            description: format!(
                "must leave on_hand of {key} at or below {}, would add {units}",
                StockLevel::UNITS_MAX
            ),
        });
        let too_many: Vec<Violation> = too_many.collect();
        if !too_many.is_empty() {
            return Err(Error::InvalidRequest(too_many));
        }
        let kind = MovementKind::Cancelled;
        Ok(self.move_all(order, units, kind, reason, trace, Delta::on_hand))
    }

    /// Moves all levels of `order`; the versions that this makes of them.
    fn move_all(
        &mut self,
        order: &Order,
        units: BTreeMap<&LevelKey, i64>,
        kind: MovementKind,
        note: &str,
        trace: Trace,
        delta: impl Fn(i64) -> Delta,
    ) -> Vec<Version> {
        let mut made = Vec::with_capacity(units.len());
        for (key, units) in units {
            let mut movement = self.step(key, kind, delta(units), trace);
            movement.order_id = Some(order.order_id);
            note.clone_into(&mut movement.note);
            made.push(movement.version);
            self.writes.movements.push(Arc::new(movement));
        }
        made
    }
}

impl Order {
    /// Ends the hold, if there is one.
    fn end(&mut self, state: OrderState, moved: Vec<Version>) {
        self.state = state;
        self.expires = None;
        if !moved.is_empty() {
            self.moved.push(moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Hold, Timestamp, Writes};
    use crate::engine::plan::Events;
    use crate::engine::samples::{change, hold};
    use crate::engine::{Done, Prepared};
    use crate::samples::{level, loaded};

    /// What `command` writes on ten units, with the order that it makes or changes.
    fn written(command: &Prepared, known: Option<&Arc<Order>>) -> (Writes, Arc<Order>) {
        let mut planner = Planner::new(Timestamp::default(), Arc::default(), Events::On);
        planner.know(loaded(level("a", 1, 10)));
        if let Some(order) = known {
            planner.know_order(Arc::clone(order));
        }
        let done = planner.command(command).unwrap();
        let Done::Order { order, .. } = done.clone() else {
            panic!("{done:?}");
        };
        (planner.finish(vec![Ok(done)]).0.writes, order)
    }

    #[test]
    fn a_hold_that_lasts_longer_is_written_and_told_to_nobody() {
        let (begun, order) = written(&hold("h", "a", 1), None);
        assert!(begun.outbox.is_some());
        let extension = change("x", &order, Transition::Extend(Hold::of(9)));
        let (extended, _) = written(&extension, Some(&order));
        assert_eq!(extended.order_changes.len(), 1);
        assert_eq!(extended.outbox, None);
    }
}
