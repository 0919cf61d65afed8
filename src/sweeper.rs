//! The sweeper: ends holds that are over.
//!
//! One instance at a time does it. Nothing depends on it being soon, since orders that are
//! short take back by themselves what such holds keep; it is what lets `reserved` fall, and
//! watchers know, where nobody orders. Two that believe to lead do no harm: the order's
//! version lets one of them end a hold.

use tokio::time::sleep;

use crate::config::HoldsConfig;
use crate::engine::Engine;
use crate::error::chain;
use crate::storage::{ExpiredHold, Role, SchemaState, Store};
use crate::telemetry::{HoldCounters, SaidOnce};

/// Sweeps whenever nobody else does, until dropped.
pub(crate) async fn sweep_forever(
    store: Store,
    engine: Engine,
    config: HoldsConfig,
    counters: HoldCounters,
) {
    let leadership = store.leadership(Role::Sweeper);
    loop {
        // Who does not sweep knows of none. Here too: what swept before may have been ended with
        // its store, and another instance may lead from now on.
        counters.overdue_seconds.set(0);
        let mut lead = leadership.acquire().await;
        tokio::select! {
            () = sweep(&store, &engine, &config, &counters) => {}
            () = lead.lost() => tracing::debug!("another instance may end holds now"),
        }
        counters.overdue_seconds.set(0);
        lead.leave().await;
    }
}

/// Ends holds for ever.
async fn sweep(store: &Store, engine: &Engine, config: &HoldsConfig, counters: &HoldCounters) {
    // A schema that is not there yet is told by `keep_ready`; a newer one is swept as well.
    while let Ok(SchemaState::Behind(_)) = store.schema_state().await {
        sleep(config.sweep_interval()).await;
    }
    // Held while it can look: whoever leads and cannot is no sweeper to the metrics.
    let mut sweeping = None;
    let (mut looking, mut forgetting) = (SaidOnce::default(), SaidOnce::default());
    loop {
        let over = match store.overdue_holds(config.sweep_orders_max).await {
            Ok(over) => over,
            Err(error) => {
                sweeping = None;
                // Nobody knows.
                counters.overdue_seconds.set(0);
                if looking.failed() {
                    tracing::warn!(error = chain(&error), "cannot look for holds that are over");
                }
                sleep(config.sweep_interval()).await;
                continue;
            }
        };
        looking.succeeded();
        sweeping.get_or_insert_with(|| counters.sweeping.hold(1));
        counters.overdue_seconds.set(oldest_seconds(&over));
        let is_full = over.len() == config.sweep_orders_max;
        let has_ended_some = engine.expire(over).await > 0;
        match store.forget_deadlines().await {
            Err(error) if forgetting.failed() => {
                tracing::warn!(error = chain(&error), "cannot take deadlines away");
            }
            Err(_) => {}
            Ok(()) => {
                forgetting.succeeded();
            }
        }
        if !(is_full && has_ended_some) {
            sleep(config.sweep_interval()).await;
        }
    }
}

fn oldest_seconds(over: &[ExpiredHold]) -> i64 {
    let ages = over.iter().filter_map(|hold| {
        let expires = hold.order.expires?;
        Some((hold.now.us() - expires.us()) / 1_000_000)
    });
    ages.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::plan::Events;
    use crate::samples::config_in;
    use crate::storage::Access;
    use crate::telemetry::Counters;

    #[tokio::test]
    async fn what_a_sweeper_found_in_another_store_is_forgotten_before_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder);
        let store = Store::open(&config.store, Access::Write).await.unwrap();
        let counters = Arc::new(Counters::default());
        let engine = Engine::start(
            store.clone(),
            &config,
            Events::Off,
            Arc::clone(&counters),
            |_| {},
        );
        counters.holds.overdue_seconds.set(900);
        let holds = counters.holds.clone();
        let sweeping = sweep_forever(store, engine.unwrap(), config.holds, holds);
        // It has asked the database nothing that could have been answered yet.
        assert!(sweeping.now_or_never().is_none());
        assert_eq!(counters.holds.overdue_seconds.get(), 0);
    }
}
