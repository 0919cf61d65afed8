//! What the benches make of what they measured, as far as it can be told without measuring.
//! They have no tests of their own: each is a program.

use std::time::{Duration, Instant};

#[expect(dead_code, reason = "medians alone are needed here")]
#[path = "../../benches/support/numbers.rs"]
mod numbers;
#[path = "../../benches/create_order/silence.rs"]
mod silence;
#[path = "../../benches/history/slower.rs"]
mod slower;
#[path = "../../benches/create_order/variants.rs"]
mod variants;

/// Where the benches have it.
mod support {
    pub(super) use super::numbers;
}

use self::silence::Silence;
use self::slower::of_the_slower;
use self::variants::best;

#[test]
fn a_variant_measured_once_does_not_beat_the_one_that_was_repeated() {
    let first_repeat = [("A", vec![10.0]), ("B", vec![9.0])];
    assert_eq!(best(first_repeat.into_iter()), Some(("A", 10.0)));
    let all = [("A", vec![10.0, 1.0, 1.0]), ("B", vec![9.0])];
    assert_eq!(best(all.into_iter()), Some(("A", 1.0)));
    assert_eq!(best(std::iter::empty::<((), _)>()), None);
}

#[test]
fn of_two_pages_the_slower_one_is_published() {
    let page = |ms: f64| (0..101).map(|call| ms + f64::from(call) / 1e3).collect();
    for pages in [[page(1.0), page(10.0)], [page(10.0), page(1.0)]] {
        assert_eq!(of_the_slower(pages), [10.05, 10.099]);
    }
}

/// What a watch sees: its snapshot and Synced at 0 s, changes at `changes`, the end at 10 s.
fn longest_silence(changes: &[f64]) -> f64 {
    let began = Instant::now();
    let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
    let mut silence = Silence::begin(began);
    silence.change(at(0.0));
    silence.synced(at(0.0));
    for change in changes {
        silence.change(at(*change));
    }
    assert_eq!(silence.changes, changes.len() as u64);
    silence.longest_until(at(10.0)).as_secs_f64()
}

#[test]
fn a_watch_is_silent_until_the_end_and_not_until_the_last_change() {
    assert_eq!(longest_silence(&[]), 10.0);
    assert_eq!(longest_silence(&[0.0, 0.05]), 9.95);
    // The changes begin when the load does.
    assert_eq!(longest_silence(&[4.0, 7.0, 9.0]), 3.0);
}

#[test]
fn a_watch_that_is_not_synced_or_comes_back_has_been_silent_meanwhile() {
    let began = Instant::now();
    let at = |seconds: u64| began + Duration::from_secs(seconds);
    let mut silence = Silence::begin(began);
    silence.change(at(4));
    assert_eq!(silence.longest_until(at(5)), Duration::from_secs(5));
    silence.synced(at(5));
    silence.change(at(6));
    // The stream ends, comes back, and is synced again.
    silence.synced(at(9));
    silence.change(at(9));
    assert_eq!(silence.longest_until(at(9)), Duration::from_secs(3));
}
