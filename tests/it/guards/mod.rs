//! One contract for every way to guard a level: each claim holds under each
//! strategy, in batches and one by one, on one instance and on two.

mod adjustments;
mod backorders;
mod escalation;
mod holds;
mod mixed;
mod orders;
mod redis_lock;
mod requests;
mod shop;

/// Makes each claim a test in one cell of the matrix.
macro_rules! claims {
    ($cell:expr; $($module:ident: $($claim:ident),+;)+) => {
        $($(
            #[test]
            fn $claim() {
                let cell: crate::guards::shop::Cell = $cell;
                cell.run(crate::guards::$module::$claim);
            }
        )+)+
    };
}

/// Makes every claim a test in one cell of the matrix.
macro_rules! contract {
    ($cell:expr) => {
        claims! { $cell;
            orders:
                sixty_four_clients_on_ten_units_sell_ten,
                lines_of_one_level_are_summed_and_make_one_movement,
                an_order_is_all_or_nothing,
                an_order_that_does_not_fit_harms_no_neighbour,
                wide_orders_in_opposite_line_orders_never_deadlock;
            requests:
                one_request_sent_sixteen_times_at_once_makes_one_order,
                of_payloads_that_race_under_one_id_one_is_made_and_the_rest_are_refused,
                an_answer_that_is_stored_is_replayed_wherever_it_is_asked_for,
                an_answer_of_several_movements_is_replayed_wherever_it_is_asked_for,
                repeats_in_a_batch_fail_no_neighbour;
            adjustments:
                adjustments_that_race_with_orders_end_at_the_truth,
                of_adjustments_that_expect_one_version_one_is_made,
                first_stock_of_one_level_is_summed,
                transfers_in_opposite_directions_lose_no_unit,
                batches_of_adjustments_are_made_whole_or_not_at_all,
                a_product_deleted_under_load_leaves_no_stock_behind,
                a_threshold_changed_under_load_is_the_one_of_every_level;
            backorders:
                of_all_who_race_for_the_last_units_on_backorder_as_many_get_them_as_there_are,
                a_limit_that_changes_under_load_is_never_passed;
            holds:
                of_all_who_end_one_order_one_does,
                an_expired_hold_never_makes_an_order_fail,
                a_change_that_is_repeated_is_made_once;
        }
    };
}

/// The part of the matrix that one strategy has on PostgreSQL.
macro_rules! under {
    ($guard:ident, $strategy:ident) => {
        mod $guard {
            mod batched {
                mod on_one_instance {
                    contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::$strategy) }
                }
                mod on_two_instances {
                    contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::$strategy).on_two_instances() }
                }
            }
            mod one_by_one {
                mod on_one_instance {
                    contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::$strategy).one_by_one() }
                }
                mod on_two_instances {
                    contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::$strategy).one_by_one().on_two_instances() }
                }
            }
        }
    };
}

mod postgres {
    under!(optimistic, Optimistic);
    under!(pessimistic, Pessimistic);
    under!(atomic, Atomic);
    under!(redis_lock, RedisLock);

    /// Each lock is a question of its own.
    mod redis_lock_on_a_cluster {
        mod batched {
            contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::RedisLock).on_a_cluster().on_two_instances() }
        }
        mod one_by_one {
            contract! { crate::guards::shop::Cell::on_postgres(stockroom::config::LockingStrategy::RedisLock).on_a_cluster().one_by_one().on_two_instances() }
        }
    }
}

/// SQLite has one writer: one strategy, one instance.
mod sqlite {
    mod batched {
        contract! { crate::guards::shop::Cell::on_sqlite() }
    }
    mod one_by_one {
        contract! { crate::guards::shop::Cell::on_sqlite().one_by_one() }
    }
}
