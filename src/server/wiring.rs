//! What a server starts behind the calls, where the configuration asks for it.

use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::task::AbortOnDropHandle;

use super::metering::look_after_forever;
use crate::cache::Cache;
use crate::config::{CacheLevels, Config};
use crate::engine::plan::Events;
use crate::engine::{Committed, Engine};
use crate::feed::{Feed, HintOutbox, fan_out_forever, hear_forever};
use crate::kafka::Topics;
use crate::redis_link::Link;
use crate::storage::Store;
use crate::sweeper::sweep_forever;
use crate::tasks::Tasks;
use crate::telemetry::{Counters, keep_up_forever};

/// Starts what goes on beside the calls, until dropped.
pub(super) fn start_beside(
    config: &Config,
    store: &Store,
    feed: &Feed,
    counters: &Arc<Counters>,
    tasks: &Tasks,
) -> Vec<AbortOnDropHandle<()>> {
    let fan_out = fan_out_forever(feed.clone(), config.watch.cpu_share_percent);
    let keep_up = keep_up_forever(Arc::clone(counters));
    let look_after = look_after_forever(store.clone(), Arc::clone(counters));
    let replicas = store.clone().look_after_replicas_forever();
    let mut started = vec![
        tasks.start("the feed", fan_out),
        tasks.start("the upkeep of metrics", keep_up),
        tasks.start("the metering of the store", look_after),
        tasks.start("the check of replicas", replicas),
    ];
    started.extend(hear_events(config, store, feed, counters, tasks));
    started
}

/// Hears other instances through Kafka, where that is configured.
fn hear_events(
    config: &Config,
    store: &Store,
    feed: &Feed,
    counters: &Counters,
    tasks: &Tasks,
) -> Option<AbortOnDropHandle<()>> {
    let events = &config.events;
    let brokers = events.brokers().filter(|_| events.feeds())?;
    let topics = Topics::new(&events.topic_prefix);
    let heard = counters.relay.heard.clone();
    let hearing = hear_forever(
        brokers.to_owned(),
        topics,
        store.clone(),
        feed.clone(),
        heard,
    );
    Some(tasks.start("the reader of events", hearing))
}

/// The cache, where one is configured.
pub(super) fn start_cache(
    config: &Config,
    counters: &Counters,
    tasks: &Tasks,
) -> anyhow::Result<Option<Cache>> {
    if !config.redis.is_on() || config.cache.levels == CacheLevels::Off {
        return Ok(None);
    }
    let counters = counters.cache.clone();
    let link =
        Link::start(&config.redis, counters.link.clone()).context("cannot use redis.urls")?;
    Ok(Some(Cache::start(&config.cache, link, counters, tasks)))
}

/// Starts the engine, which tells the feed of each commit, and the other processes on
/// the same database where there can be any.
pub(super) fn start_engine(
    config: &Config,
    store: &Store,
    counters: &Arc<Counters>,
    feed: &Feed,
    outbox: &HintOutbox,
    wake_relay: Option<impl Fn() + Send + Sync + 'static>,
    cache: Option<Cache>,
) -> anyhow::Result<Engine> {
    let feed = feed.clone();
    let outbox = store.is_shared().then(|| outbox.clone());
    let engine = Engine::start(
        store.clone(),
        config,
        match config.events.brokers() {
            Some(_) => Events::On,
            None => Events::Off,
        },
        Arc::clone(counters),
        move |committed: Committed<'_>| {
            let levels = committed.levels();
            feed.publish(levels);
            if let Some(cache) = &cache {
                match committed {
                    Committed::Changed(levels) => cache.offer(levels),
                    Committed::Deleted(levels) => cache.forget(levels),
                }
            }
            if let Some(outbox) = &outbox {
                outbox.committed(levels);
            }
            if let Some(wake_relay) = &wake_relay {
                wake_relay();
            }
        },
    );
    engine.context("cannot start the engine")
}

/// Ends holds that are over, until dropped.
pub(super) fn start_sweeper(
    config: &Config,
    store: &Store,
    engine: &Engine,
    counters: &Counters,
    tasks: &Tasks,
) -> AbortOnDropHandle<()> {
    let sweeping = sweep_forever(
        store.clone(),
        engine.clone(),
        config.holds.clone(),
        counters.holds.clone(),
    );
    tasks.start("the sweeper", sweeping)
}
