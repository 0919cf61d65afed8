//! Faults at every point of a commit.
//!
//! Callers place orders, something breaks, and is whole again. Then: every
//! acknowledged order exists once, nothing unacknowledged was done twice, the
//! books balance, and no connection is left inside a transaction.

mod callers;
mod network;
mod poison;
mod settling;
mod stops;

use stockroom::config::{Config, LockingStrategy};

/// What the servers of a test are set to, and how much of it one round is.
#[derive(Clone, Copy)]
struct Guard {
    configure: fn(&mut Config),
    /// Of the points of a commit, where some are left to `make chaos`: which, is chance.
    every_nth_point: usize,
}

impl Guard {
    /// At every point.
    fn new(configure: fn(&mut Config)) -> Self {
        Self {
            configure,
            every_nth_point: 1,
        }
    }

    /// One that has the skeleton of a commit in common with another.
    fn another(configure: fn(&mut Config)) -> Self {
        Self {
            configure,
            every_nth_point: 4,
        }
    }
}

/// Makes each claim a test on PostgreSQL under this guard.
macro_rules! claims {
    ($guard:expr; $($module:ident: $($claim:ident),+;)+) => {
        $($(
            async fn $claim(_: crate::fixture::StoreKind) {
                super::$module::$claim($guard).await;
            }
        )+)+
        on_postgres! { $($($claim),+),+ }
    };
}

/// Makes every claim of this module a test under one way to guard a level.
macro_rules! under {
    ($name:ident, $guard:expr) => {
        mod $name {
            use super::*;

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
                stops:
                    a_database_stopped_at_once_under_load_loses_no_order;
                poison:
                    an_order_that_breaks_its_statement_fails_alone;
            }
        }
    };
}

under!(by_default, Guard::new(|_| {}));
under!(
    one_by_one,
    Guard::another(|config| config.engine.batch_orders_max = 1)
);
under!(
    pessimistic,
    Guard::another(|config| config.locking.strategy = LockingStrategy::Pessimistic)
);
under!(
    atomic,
    Guard::another(|config| config.locking.strategy = LockingStrategy::Atomic)
);
