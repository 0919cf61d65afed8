use std::collections::HashMap;
use std::future::poll_fn;

use futures_util::FutureExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::targets::Prefixes;
use super::*;
use crate::domain::{Location, Timestamp, Version};
use crate::samples::{self, key};

mod coming_and_going;

/// Low at or below 500 units.
fn level(sku: &str, version: i64) -> StockLevel {
    StockLevel {
        updated: Timestamp::from_us(version),
        low_stock_threshold: 500,
        ..samples::level(sku, version, 1_000 - version)
    }
}

fn with_units(sku: &str, version: i64, on_hand: i64) -> StockLevel {
    StockLevel {
        on_hand,
        ..level(sku, version)
    }
}

fn named(skus: &[&str]) -> Targets {
    Targets {
        keys: skus.iter().map(|sku| key(sku)).collect(),
        ..Targets::default()
    }
}

fn selected(selectors: Selectors) -> Targets {
    Targets {
        selectors,
        ..Targets::default()
    }
}

fn everything() -> Targets {
    selected(Selectors {
        all: true,
        ..Selectors::default()
    })
}

fn low_ones() -> Targets {
    selected(Selectors {
        low: true,
        ..Selectors::default()
    })
}

/// A feed whose watchers are told without limit.
fn feed() -> (Feed, AbortOnDropHandle<()>) {
    let feed = Feed::default();
    let telling = tokio::spawn(fan_out_forever(feed.clone(), 0));
    (feed, AbortOnDropHandle::new(telling))
}

async fn changed(watch: &Watch) -> Changed {
    poll_fn(|cx| watch.poll_changed(cx, 1_000)).await
}

async fn next(watch: &Watch) -> Vec<StockLevel> {
    given(&changed(watch).await.updates)
}

fn given(updates: &[Arc<Update>]) -> Vec<StockLevel> {
    updates.iter().map(|update| update.level.clone()).collect()
}

/// Lets the task tell whoever there is to tell.
async fn until_told(feed: &Feed) {
    let all_told = || {
        let state = lock(&feed.shared.state);
        state.slots.values().all(|slot| !lock(&slot.state).due)
    };
    while !all_told() {
        tokio::task::yield_now().await;
    }
}

fn nothing_for(watch: &Watch) -> bool {
    changed(watch).now_or_never().is_none()
}

fn slots(feed: &Feed) -> usize {
    lock(&feed.shared.state).slots.len()
}

#[tokio::test]
async fn sources_may_repeat_and_reorder() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&named(&["a"]));
    assert_eq!(feed.publish(&[level("a", 2)]), 0);
    assert_eq!(feed.publish(&[level("a", 1)]), 0);
    assert_eq!(next(&watch).await, [level("a", 2)]);
    assert_eq!(feed.publish(&[level("a", 2)]), 0);
    assert_eq!(feed.publish(&[level("a", 1)]), 0);
    until_told(&feed).await;
    assert!(nothing_for(&watch));
    assert_eq!(feed.publish(&[level("a", 3)]), 1);
    assert_eq!(next(&watch).await, [level("a", 3)]);
}

#[tokio::test]
async fn a_watch_that_does_not_read_keeps_each_level_once() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&named(&["a", "b"]));
    for version in 1..=1_000 {
        feed.publish(&["a", "b", "c"].map(|sku| level(sku, version)));
        until_told(&feed).await;
    }
    assert_eq!(poll_fn(|cx| watch.watcher.poll_waiting(cx)).await, 2);
    assert_eq!(slots(&feed), 2);
    let mut latest = next(&watch).await;
    latest.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(latest, [level("a", 1_000), level("b", 1_000)]);
}

#[tokio::test]
async fn versions_that_are_folded_away_are_counted() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&named(&["a"]));
    watch.meet(&[level("a", 1)], false);
    feed.publish(&[level("a", 2)]);
    feed.publish(&[level("a", 5)]);
    until_told(&feed).await;
    let changed = changed(&watch).await;
    assert_eq!((changed.updates.len(), changed.folded), (1, 3));
}

#[tokio::test]
async fn a_snapshot_and_what_came_meanwhile_give_each_version_once() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&named(&["a", "b"]));
    watch.has_seen(&HashMap::from([(key("b"), Version::new(4))]));
    feed.publish(&[level("a", 3), level("b", 4)]);
    until_told(&feed).await;
    // The snapshot was read before the commit that was published meanwhile.
    let met = watch.meet(&[level("a", 2), level("b", 4)], false);
    let newer = given(&met.newer);
    assert_eq!((newer, met.reset.len()), (vec![level("a", 3)], 0));
    assert!(nothing_for(&watch));
    feed.publish(&[level("a", 4)]);
    assert_eq!(next(&watch).await, [level("a", 4)]);
}

#[tokio::test]
async fn only_a_version_that_no_source_knows_is_reset() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&named(&["a", "b"]));
    let seen = [(key("a"), Version::new(5)), (key("b"), Version::new(5))];
    watch.has_seen(&HashMap::from(seen));
    feed.publish(&[level("a", 5)]);
    // A page that was read a moment too early.
    let met = watch.meet(&[level("a", 4), level("b", 4)], false);
    let reset = given(&met.reset);
    assert_eq!((met.newer.len(), reset), (0, vec![level("b", 4)]));
    feed.publish(&[level("b", 5)]);
    assert_eq!(next(&watch).await, [level("b", 5)]);
}

#[tokio::test]
async fn a_level_without_a_version_is_given_as_it_was_read_last() {
    let (feed, _telling) = feed();
    let before = level("a", 0);
    let after = StockLevel {
        backorder_limit: 50,
        ..level("a", 0)
    };
    let first = feed.watch(&named(&["a"]));
    let met = first.meet(std::slice::from_ref(&before), false);
    assert_eq!(given(&met.newer), [before]);
    let second = feed.watch(&named(&["a"]));
    let met = second.meet(std::slice::from_ref(&after), false);
    assert_eq!(given(&met.newer), [after]);
    until_told(&feed).await;
    assert!(nothing_for(&first), "there is no new version");
}

#[tokio::test]
async fn a_watch_of_all_is_told_of_new_levels() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&everything());
    feed.publish(&[level("new", 1)]);
    assert_eq!(next(&watch).await, [level("new", 1)]);
}

#[tokio::test]
async fn what_is_left_of_a_deleted_product_is_told_to_those_who_knew_it() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&everything());
    watch.meet(&[level("a", 1), level("b", 4)], false);
    let left = [level("long-gone", 7), level("a", 2), level("b", 4)];
    assert_eq!(feed.publish_deleted(&left), 1);
    assert_eq!(next(&watch).await, [level("a", 2)]);
    until_told(&feed).await;
    assert!(nothing_for(&watch));
    assert_eq!(slots(&feed), 2, "nobody knew the other");
}

#[tokio::test]
async fn watches_by_prefix_and_place_are_told_of_what_fits() {
    let (feed, _telling) = feed();
    let by_prefix = feed.watch(&selected(Selectors {
        prefixes: Prefixes::from_iter(["ab"]),
        ..Selectors::default()
    }));
    let there = Location::new("there").expect("valid");
    let by_place = feed.watch(&selected(Selectors {
        locations: [there.clone()].into(),
        ..Selectors::default()
    }));
    let mut elsewhere = level("b", 1);
    elsewhere.key.location = there;
    feed.publish(&[level("a", 1), level("abc", 1), elsewhere.clone()]);
    assert_eq!(next(&by_prefix).await, [level("abc", 1)]);
    assert_eq!(next(&by_place).await, [elsewhere]);
    assert_eq!(slots(&feed), 2, "nobody watches a");
}

#[tokio::test]
async fn a_watch_of_low_levels_is_told_once_more_when_they_are_not() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&low_ones());
    let say = async |version, on_hand| {
        feed.publish(&[with_units("a", version, on_hand)]);
        until_told(&feed).await;
    };
    say(1, 900).await;
    assert!(nothing_for(&watch));
    say(2, 500).await;
    assert_eq!(next(&watch).await, [with_units("a", 2, 500)]);
    say(3, 400).await;
    assert_eq!(next(&watch).await, [with_units("a", 3, 400)]);
    say(4, 600).await;
    assert_eq!(next(&watch).await, [with_units("a", 4, 600)]);
    say(5, 700).await;
    assert!(nothing_for(&watch));
    // Low and back before the watch looks is nothing to tell.
    say(6, 100).await;
    say(7, 700).await;
    assert!(nothing_for(&watch));
    say(8, 100).await;
    assert_eq!(next(&watch).await, [with_units("a", 8, 100)]);
}

#[tokio::test]
async fn a_level_that_is_no_longer_low_overtakes_a_snapshot_that_says_so() {
    let (feed, _telling) = feed();
    let watch = feed.watch(&low_ones());
    feed.publish(&[with_units("a", 3, 900), with_units("b", 1, 1)]);
    until_told(&feed).await;
    // Read when a was low still.
    let met = watch.meet(&[with_units("a", 2, 1), with_units("b", 1, 1)], false);
    let newer = given(&met.newer);
    assert_eq!(newer, [with_units("b", 1, 1)]);
    assert!(nothing_for(&watch));
}

#[tokio::test]
async fn a_level_without_a_version_is_no_low_one_though_somebody_names_it() {
    let (feed, _telling) = feed();
    let low = feed.watch(&low_ones());
    let by_name = feed.watch(&named(&["a"]));
    let met = by_name.meet(&[with_units("a", 0, 0)], false);
    assert!(met.newer[0].level.low_stock());
    until_told(&feed).await;
    assert!(nothing_for(&low));
    feed.publish(&[with_units("a", 1, 3)]);
    assert_eq!(next(&low).await, [with_units("a", 1, 3)]);
}

#[test]
fn a_watched_level_is_small() {
    let (registration, watcher) = (size_of::<slot::Registration>(), size_of::<Watcher>());
    assert!(
        registration <= 48,
        "a registration takes {registration} bytes"
    );
    assert!(watcher <= 160, "a watcher takes {watcher} bytes");
}
