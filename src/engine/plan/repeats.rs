//! Answering requests that have been answered before.

use std::sync::Arc;

use super::Planner;
use crate::domain::{Order, RequestId, StoredAnswer, StoredRequest};
use crate::engine::{Command, Done, Prepared};
use crate::error::Error;

impl Planner {
    pub(super) fn answered(&self, request_id: &RequestId) -> Option<&StoredRequest> {
        let answered = [&self.accepted, &*self.earlier, &self.stored];
        answered.into_iter().find_map(|known| known.get(request_id))
    }

    /// Answers a request that has been answered before.
    pub(super) fn repeat(
        &self,
        prepared: &Prepared,
        stored: &StoredRequest,
    ) -> Result<Done, Error> {
        let reused = || {
            let request_id = prepared.command.request_id();
            Error::RequestIdReused(request_id.expect("it was looked up").clone())
        };
        if stored.fingerprint != prepared.fingerprint {
            return Err(reused());
        }
        match (&stored.answer, &prepared.command) {
            (StoredAnswer::Order(order), Command::CreateOrder(new)) => Ok(Done::Order {
                order: self.latest(order),
                // The very order that this command made, before its commit's answer was lost.
                replayed: order.order_id != new.order_id,
            }),
            (StoredAnswer::Order(order), Command::ChangeOrder(_)) => Ok(Done::Order {
                order: self.latest(order),
                replayed: true,
            }),
            (StoredAnswer::Movements(movements), Command::AdjustStock(asked)) => {
                let mut levels = self.levels_of(asked);
                // They may have been read before it was made.
                for movement in movements {
                    let place = levels.binary_search_by(|level| level.key.cmp(&movement.key));
                    if let Ok(place) = place {
                        levels[place].catch_up(movement);
                    }
                }
                Ok(Done::Adjusted {
                    movements: movements.clone(),
                    levels,
                    replayed: true,
                })
            }
            // The fingerprint covers the kind of the request, so this takes a
            // collision of hashes; the other kind's answer would be wrong even then.
            _ => Err(reused()),
        }
    }

    /// The order as the commands so far have left it.
    fn latest(&self, order: &Arc<Order>) -> Arc<Order> {
        let known = self.orders.get(&order.order_id).map(|known| &known.after);
        let later = known.filter(|known| known.version > order.version);
        Arc::clone(later.unwrap_or(order))
    }

    /// Brings an answer that was given from what is stored up to where the commands so far
    /// have left the levels and orders that are known here.
    pub(in crate::engine) fn renew(&self, done: &mut Done) {
        match done {
            Done::Adjusted { levels, .. } => {
                for level in levels {
                    if let Some(known) = self.levels.get(&level.key) {
                        level.clone_from(&known.level);
                    }
                }
            }
            Done::Order { order, .. } => {
                if let Some(known) = self.orders.get(&order.order_id) {
                    *order = Arc::clone(&known.after);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{StockLevel, Timestamp};
    use crate::engine::samples::{planner, received};
    use crate::samples::level;

    /// What a repeat tells of `a` and of its movement, where `a` was read like this and the
    /// request was found to have been made after version 5.
    fn told(a: StockLevel) -> (StockLevel, i64) {
        let request = received("r", "a", 5);
        let mut first = planner(7, level("a", 5, 10));
        let done = first.command(&request).unwrap();
        let (_, made) = first.finish(vec![Ok(done)]);
        let mut planner = planner(7, a);
        planner.know_requests(made);
        match planner.command(&request).unwrap() {
            Done::Adjusted {
                movements,
                mut levels,
                replayed: true,
            } => (levels.remove(0), movements[0].version.number()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeat_tells_of_no_level_older_than_what_its_request_made() {
        let made = StockLevel {
            updated: Timestamp::from_us(7),
            ..level("a", 6, 15)
        };
        assert_eq!(told(level("a", 5, 10)), (made, 6));
        // What others have made since is told as it is.
        assert_eq!(told(level("a", 8, 3)), (level("a", 8, 3), 6));
    }
}
