use super::*;
use crate::client::proto::StockKey;

fn level(sku: &str, version: i64) -> StockLevel {
    StockLevel {
        sku: sku.into(),
        location: "main".into(),
        version,
        ..StockLevel::default()
    }
}

fn versions(levels: &[StockLevel]) -> Vec<i64> {
    levels.iter().map(|level| level.version).collect()
}

#[test]
fn versions_of_a_level_strictly_rise() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("store".into());
    let sent = [0, 3, 3, 2, 7].map(|version| level("a", version));
    assert_eq!(versions(&seen.news(sent.into(), false)), [0, 3, 7]);
    assert_eq!(seen.repeats(), 2);
    assert_eq!(versions(&seen.news(vec![level("b", 1)], false)), [1]);
}

#[test]
fn a_reset_lets_a_version_fall_once() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("store".into());
    seen.news(vec![level("a", 9)], false);
    assert_eq!(versions(&seen.news(vec![level("a", 4)], true)), [4]);
    assert!(seen.news(vec![level("a", 4)], false).is_empty());
    assert_eq!(versions(&seen.news(vec![level("a", 5)], false)), [5]);
}

#[test]
fn a_resume_names_the_last_versions_and_their_store() {
    let mut seen = Seen::new(&WatchTargets::all());
    assert!(seen.levels().is_empty());
    seen.started("store".into());
    seen.news(vec![level("a", 1), level("b", 2), level("a", 5)], false);
    seen.started("store".into());
    let mut resumed: Vec<_> = seen
        .levels()
        .into_iter()
        .map(|level| (level.sku, level.version))
        .collect();
    resumed.sort();
    assert_eq!(resumed, [("a".into(), 5), ("b".into(), 2)]);
    assert_eq!(seen.store_id(), "store");
}

#[test]
fn another_store_makes_all_that_was_seen_void() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("old".into());
    seen.news(vec![level("a", 9)], false);
    seen.started("new".into());
    assert_eq!(versions(&seen.news(vec![level("a", 1)], true)), [1]);
    assert_eq!(seen.repeats(), 0);
}

#[test]
fn what_another_store_has_not_told_of_yet_is_asked_for_by_the_next_stream() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("old".into());
    seen.news(vec![level("gone", 9), level("told", 9)], false);
    assert_eq!(seen.levels().len(), 2);
    seen.started("new".into());
    seen.news(vec![level("told", 1)], true);
    // It broke off.
    let mut named = seen.levels();
    named.sort_by(|a, b| a.sku.cmp(&b.sku));
    let named: Vec<_> = named.iter().map(|it| (&*it.sku, it.version)).collect();
    assert_eq!(named, [("gone", OF_ANOTHER_STORE), ("told", 1)]);
    seen.started("new".into());
    assert_eq!(versions(&seen.news(vec![level("gone", 0)], true)), [0]);
    assert_eq!(seen.repeats(), 0);
}

#[test]
fn what_was_left_out_before_another_store_is_asked_for_whatever_that_one_has() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("old".into());
    let there = ["there", "same", "gone", "unanswered"].map(|sku| level(sku, 5));
    seen.news(there.into(), false);
    assert!(seen.levels().len() == 4 && seen.name_none() && seen.levels().is_empty());
    seen.started("new".into());
    assert_eq!(versions(&seen.news(vec![level("there", 2)], true)), [2]);
    // Of a stream that broke off and began again, which says no reset any more.
    assert!(seen.levels().is_empty());
    seen.started("new".into());
    let sent = vec![level("there", 2), level("same", 5)];
    assert!(seen.news(sent, false).is_empty());
    let mut unheard = seen.unheard();
    unheard.sort_by(|a, b| a.sku.cmp(&b.sku));
    let named = unheard.iter().map(|it| (it.sku.as_str(), it.version));
    let expected = ["gone", "same", "unanswered"].map(|sku| (sku, OF_ANOTHER_STORE));
    assert_eq!(named.collect::<Vec<_>>(), expected);
    let answers = vec![level("gone", 0), level("same", 5)];
    assert_eq!(versions(&seen.news(answers, true)), [0, 5]);
    let made = vec![level("unanswered", 1)];
    assert_eq!(versions(&seen.news(made, false)), [1]);
}

#[test]
fn a_resume_after_a_large_store_is_a_request_that_a_server_takes() {
    let long = |number: u32| format!("{number:064}");
    let names = (1..10_000).map(|number| StockKey {
        sku: long(number),
        location: "x".repeat(64),
    });
    // 1.4 MB of selectors, and 4.6 MB of levels if all were named.
    let targets = WatchTargets::all().and(WatchTargets::levels(names));
    let sent: Vec<_> = (0..60_000).map(|number| level(&long(number), 1)).collect();
    let mut seen = Seen::new(&targets);
    seen.started(uuid::Uuid::nil().to_string());
    assert_eq!(seen.news(sent.clone(), false).len(), sent.len());
    let named = seen.levels();
    let bytes = targets.request(seen.store_id(), named).encoded_len();
    let room = REQUEST_BYTES_MAX - bytes;
    assert!(room < 100, "{room} bytes are left");
    assert!(seen.news(sent, false).is_empty());
    assert_eq!(seen.repeats(), 0, "not all had been named");
}

#[test]
fn what_a_resume_named_in_full_is_repeated_when_it_comes_again() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("store".into());
    seen.news(vec![level("a", 1), level("b", 1)], false);
    assert_eq!(seen.levels().len(), 2);
    assert!(seen.news(vec![level("a", 1)], false).is_empty());
    assert_eq!(seen.repeats(), 1);
}

#[test]
fn once_no_level_shall_be_named_what_comes_again_is_dropped_and_no_repeat() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("store".into());
    seen.news(vec![level("a", 3)], false);
    assert_eq!(seen.levels().len(), 1);
    assert!(seen.name_none());
    assert!(seen.levels().is_empty());
    let sent = vec![level("a", 3), level("a", 4)];
    assert_eq!(versions(&seen.news(sent, false)), [4]);
    assert_eq!(seen.repeats(), 0);
    assert!(!seen.name_none(), "it cannot name less than none");
}

#[test]
fn what_was_left_out_and_is_not_sent_is_unheard_once() {
    let mut seen = Seen::new(&WatchTargets::all());
    seen.started("store".into());
    let there = ["same", "sold", "fallen", "gone"].map(|sku| level(sku, 5));
    seen.news(there.into(), false);
    assert_eq!(seen.levels().len(), 4);
    assert!(seen.unheard().is_empty(), "all were named");
    assert!(seen.name_none());
    assert!(seen.levels().is_empty());
    let sent = vec![level("same", 5), level("sold", 6), level("fallen", 4)];
    assert_eq!(versions(&seen.news(sent, false)), [6]);
    let mut unheard = seen.unheard();
    unheard.sort_by(|a, b| a.sku.cmp(&b.sku));
    let named = unheard
        .iter()
        .map(|level| (level.sku.as_str(), level.version));
    assert_eq!(named.collect::<Vec<_>>(), [("fallen", 5), ("gone", 5)]);
    assert!(seen.unheard().is_empty());
    // The next resume leaves them out again.
    assert!(seen.levels().is_empty());
    assert_eq!(seen.unheard().len(), 4);
}

#[test]
fn what_is_low_and_not_named_is_unheard_unless_it_is_sent_so_that_its_end_is_told() {
    let low = |sku, version, low_stock| StockLevel {
        low_stock,
        ..level(sku, version)
    };
    let mut seen = Seen::new(&WatchTargets::low_only());
    seen.started("store".into());
    seen.news(vec![low("still", 1, true), low("ended", 1, true)], false);
    assert_eq!(seen.levels().len(), 2);
    assert!(seen.name_none());
    assert!(seen.levels().is_empty());
    assert!(seen.news(vec![low("still", 1, true)], false).is_empty());
    let unheard = seen.unheard();
    assert_eq!(
        unheard.iter().map(|it| &it.sku).collect::<Vec<_>>(),
        ["ended"]
    );
    // As the answer to a question, and later in the stream.
    for sku in ["ended", "still"] {
        let sent = vec![low(sku, 2, false)];
        assert_eq!(versions(&seen.news(sent, false)), [2], "{sku}");
    }
}

#[test]
fn what_is_watched_while_it_is_low_is_told_until_it_is_not_and_then_forgotten_on_resume() {
    let low = |version, low_stock| StockLevel {
        low_stock,
        ..level("a", version)
    };
    let mut seen = Seen::new(&WatchTargets::low_only());
    seen.started("store".into());
    let sent = vec![low(1, true), low(2, true)];
    assert_eq!(versions(&seen.news(sent, false)), [1, 2]);
    assert_eq!(seen.levels().len(), 1);
    let sent = vec![low(3, false), low(4, false)];
    assert_eq!(versions(&seen.news(sent, false)), [3]);
    assert!(seen.levels().is_empty());
    assert_eq!(versions(&seen.news(vec![low(5, true)], false)), [5]);
    assert_eq!(seen.repeats(), 0);
}
