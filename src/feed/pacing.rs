//! How much of the machine watching may take while orders run.

use std::time::Duration;

use tokio::time::Instant;

/// What it costs to deliver one level to one stream, the reader's side included. The
/// machine of docs/performance.md needs some 3 µs in a flood and 5 µs beside orders; a
/// slower one keeps to its share, too.
const DELIVERY_COST: Duration = Duration::from_micros(8);

/// Quiet time that is made up for. A level that ten thousand streams watch and
/// that changes now and then reaches all of them at once: at a fifth of a core
/// half a second is worth 12,500 deliveries.
const CREDIT_MAX: Duration = Duration::from_millis(500);

/// Says when what has been delivered is paid for.
///
/// All levels share one budget: n watchers of one hot level get a value every
/// n × [`DELIVERY_COST`] ÷ share, and a hundred such levels take no more of the
/// machine than one.
#[derive(Debug)]
pub(super) struct Budget {
    per_delivery: Duration,
    paid_at: Instant,
}

impl Budget {
    /// A budget of `cpu_share_percent` of one core; 0 is one without end.
    pub(super) fn new(cpu_share_percent: u32, now: Instant) -> Self {
        let per_delivery = match cpu_share_percent {
            0 => Duration::ZERO,
            percent => DELIVERY_COST * 100 / percent,
        };
        let paid_at = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        Self {
            per_delivery,
            paid_at,
        }
    }

    /// Takes the price of deliveries. Returns until when nothing more should be
    /// delivered, if it is not paid for yet.
    pub(super) fn spend(&mut self, deliveries: usize, now: Instant) -> Option<Instant> {
        let credit_from = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
        self.paid_at = self.paid_at.max(credit_from) + self.per_delivery * deliveries;
        (self.paid_at > now).then_some(self.paid_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_take_their_share_and_no_more() {
        let begin = Instant::now();
        let mut budget = Budget::new(20, begin);
        // 40 µs each: half a second's worth is free.
        assert_eq!(budget.spend(12_500, begin), None);
        let until = budget.spend(10_000, begin).expect("it is spent");
        assert_eq!(until - begin, Duration::from_millis(400));
        // Having slept too long is made up for.
        let late = until + Duration::from_millis(4);
        assert_eq!(budget.spend(100, late), None);
        assert!(budget.spend(1, late).is_some());
        // But credit does not pile up.
        let later = late + Duration::from_secs(60);
        assert_eq!(budget.spend(12_500, later), None);
        assert!(budget.spend(1, later).is_some());
    }

    #[test]
    fn a_share_of_zero_paces_nothing() {
        let now = Instant::now();
        let mut budget = Budget::new(0, now);
        for _ in 0..10 {
            assert_eq!(budget.spend(1_000_000, now), None);
        }
    }
}
