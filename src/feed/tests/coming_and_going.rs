//! Watches that begin and end while others are told.

use super::*;

#[tokio::test]
async fn ten_thousand_watchers_come_and_go_while_they_are_told_and_none_is_left_out() {
    let (feed, _telling) = feed();
    let begin = || feed.watch(&named(&["hot"]));
    let mut watches: Vec<Watch> = (0..10_000).map(|_| begin()).collect();
    for version in 1..=200 {
        feed.publish(&[level("hot", version)]);
        tokio::task::yield_now().await;
        // Anywhere in the list, before and behind the walk's cursor.
        for place in [0, 9_999, (version as usize * 7_919) % 9_998] {
            watches.swap_remove(place);
            watches.push(begin());
        }
    }
    feed.publish(&[level("hot", 201)]);
    for watch in &watches {
        assert_eq!(next(watch).await, [level("hot", 201)]);
    }
    until_told(&feed).await;
    assert!(watches.iter().all(nothing_for));
}

#[tokio::test]
async fn watches_leave_nothing_behind() {
    let (feed, _telling) = feed();
    let by_name = feed.watch(&named(&["a"]));
    let all = feed.watch(&everything());
    let low = feed.watch(&low_ones());
    feed.publish(&[level("a", 1), level("b", 1), level("c", 999)]);
    until_told(&feed).await;
    assert_eq!(slots(&feed), 3);
    drop(all);
    drop(low);
    assert_eq!(slots(&feed), 1, "only a is still watched");
    drop(by_name);
    feed.publish(&[level("a", 2), level("b", 2)]);
    assert_eq!(slots(&feed), 0);
    until_told(&feed).await;
    assert_eq!(
        Arc::strong_count(&feed.shared),
        2,
        "the feed's and the task's"
    );
}

#[test]
fn a_watch_that_is_told_while_it_ends_is_freed() {
    let feed = Feed::default();
    let watch = feed.watch(&named(&["a"]));
    let watcher = Arc::downgrade(&watch.watcher);
    let slot = Arc::clone(&lock(&feed.shared.state).slots[&key("a")]);
    let it = watch.watcher.registration(&slot).expect("it is watched");
    let state = lock(&slot.state);
    let ending = std::thread::spawn(move || drop(watch));
    while it.watcher.registration(&slot).is_some() {
        std::thread::yield_now();
    }
    // What a walk does that came to the slot first.
    assert!(it.is_live(), "the end waits for the slot's lock");
    it.tell();
    drop(state);
    drop(it);
    ending.join().expect("a watch ends without a panic");
    assert!(watcher.upgrade().is_none(), "the watcher is never freed");
}

fn many(levels: usize) -> Targets {
    Targets {
        keys: (0..levels).map(|i| key(&format!("a{i}"))).collect(),
        ..Targets::default()
    }
}

#[tokio::test]
async fn a_watch_of_many_levels_ends_beside_whoever_drops_it() {
    const LEVELS: usize = 5_000;
    let feed = Feed::default();
    let by_name = feed.watch(&many(LEVELS));
    let low = feed.watch(&low_ones());
    let watcher = Arc::downgrade(&by_name.watcher);
    drop(by_name);
    // It names few levels, but lets go of what is known on its account.
    drop(low);
    assert_eq!(slots(&feed), LEVELS, "nobody has waited for it");
    while slots(&feed) > 0 || watcher.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_watch_of_many_levels_ends_though_its_runtime_does_before() {
    let feed = Feed::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async { drop(feed.watch(&many(5_000))) });
    drop(runtime);
    assert_eq!(slots(&feed), 0);
}

#[test]
fn whoever_goes_through_watched_levels_leaves_none_out_while_others_come_and_go() {
    let feed = Feed::default();
    let begin = |name: &str, i: usize| feed.watch(&named(&[&format!("{name}{i}")]));
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for i in 0..500 {
        leaving.push(begin("leaves", i));
        staying.push(begin("stays", i));
    }
    let (selectors, mut keys) = (feed.selectors(), Vec::new());
    let (mut place, mut portions) = (usize::MAX, 0);
    while place > 0 {
        place = feed.add_unread(&selectors, place, &mut keys);
        portions += 1;
        assert!(keys.len() <= portions * LOOKED_UP_MAX);
        // Before the place, behind it, and new ones.
        for i in 0..10 {
            leaving.swap_remove(0);
            leaving.pop();
            staying.push(begin("new", portions * 10 + i));
        }
    }
    for i in 0..500 {
        let key = key(&format!("stays{i}"));
        assert!(keys.contains(&key), "{key} is left out");
    }
}
