//! Faults at every point of a commit.
//!
//! Callers place orders, something breaks, and is whole again. Then: every
//! acknowledged order exists once, nothing unacknowledged was done twice, the
//! books balance, and no connection is left inside a transaction.

pub(crate) mod callers;
mod held;
mod network;
mod poison;
pub(crate) mod reckoning;
mod settling;
mod stops;
mod unheard;

use stockroom::config::{CacheLevels, Config, LockingStrategy};

use crate::cache::with_redis;
use crate::fixture::{StoreKind, run_on};
use crate::servers::redis;

/// What the servers of a test are set to, and how much of it one round is.
#[derive(Clone, Copy)]
struct Guard {
    configure: fn(&mut Config),
    /// Requests to the database from one commit to the next: the points at which the first
    /// round breaks something.
    requests: usize,
    needs_redis: bool,
}

impl Guard {
    fn new(requests: usize, configure: fn(&mut Config)) -> Self {
        Self {
            configure,
            requests,
            needs_redis: false,
        }
    }

    fn on_redis(self) -> Self {
        Self {
            needs_redis: true,
            ..self
        }
    }

    /// Runs `test` under it, unless the run leaves out what it needs.
    fn run<F: Future<Output = ()>>(self, test: impl FnOnce(Self) -> F) {
        if self.needs_redis {
            with_redis(StoreKind::Postgres, |_| test(self));
        } else {
            run_on(StoreKind::Postgres, |_| test(self));
        }
    }
}

/// Lets a transaction that is forgotten, or held back while a test looks at it, idle until the
/// end of the scene. A connection that is reset needs no patience.
fn patient(config: &mut Config) {
    config.store.statement_timeout_ms = Config::default().store.statement_timeout_ms;
}

/// Makes each claim a test on PostgreSQL under this guard.
macro_rules! claims {
    ($guard:expr; $($module:ident: $($claim:ident),+;)+) => {
        mod postgres {
            use super::super::*;

            $($(
                #[test]
                fn $claim() {
                    let guard: Guard = $guard;
                    guard.run($module::$claim);
                }
            )+)+
        }
    };
}

/// Makes every claim of this module a test under one way to guard a level.
macro_rules! under {
    ($name:ident, $guard:expr) => {
        mod $name {
            claims! { $guard;
                network:
                    connections_reset_before_a_request_lose_no_order,
                    connections_reset_after_a_reply_lose_no_order,
                    a_network_that_falls_silent_before_a_request_loses_no_order,
                    a_network_that_falls_silent_after_a_reply_loses_no_order,
                    requests_that_come_late_do_nothing_twice,
                    replies_that_come_late_lose_no_order,
                    a_slow_network_costs_time_and_no_order;
                settling:
                    an_order_whose_commit_went_unheard_is_answered_with_itself,
                    an_adjustment_whose_commit_went_unheard_is_answered_with_itself,
                    a_transfer_whose_commit_went_unheard_is_answered_with_itself,
                    an_order_that_cannot_be_settled_in_time_is_store_unavailable_and_settled_later,
                    a_commit_that_arrives_after_it_was_given_up_changes_nothing;
                held:
                    a_hold_whose_commit_went_unheard_is_answered_with_itself,
                    a_confirmation_whose_commit_went_unheard_is_answered_with_itself,
                    a_cancellation_whose_commit_went_unheard_is_answered_with_itself;
                stops:
                    a_database_stopped_at_once_under_load_loses_no_order;
                poison:
                    an_order_that_breaks_its_statement_fails_alone;
            }
        }
    };
}

// One statement, which is the commit, and a hint behind it.
under!(by_default, Guard::new(3, |_| {}));
under!(
    one_by_one,
    Guard::new(2, |config| config.engine.batch_orders_max = 1)
);
// BEGIN, the orders that change, the levels, the write, COMMIT, and a hint.
under!(
    pessimistic,
    Guard::new(6, |config| {
        config.locking.strategy = LockingStrategy::Pessimistic;
    })
);
under!(
    atomic,
    Guard::new(6, |config| {
        config.locking.strategy = LockingStrategy::Atomic;
    })
);
// The levels are read before the statement that is the commit.
under!(
    redis_lock,
    Guard::new(3, |config| {
        config.redis.urls = vec![redis::shared().url()];
        config.cache.levels = CacheLevels::Off;
        config.locking.strategy = LockingStrategy::RedisLock;
    })
    .on_redis()
);
