//! Which of several variants counts.

use super::support::numbers::median;

/// Of those that were measured most often the one with the largest median, and that
/// median: later repeats measure the best of the first one alone, which must not lose to a
/// single measurement of another.
pub(crate) fn best<T>(variants: impl Iterator<Item = (T, Vec<f64>)>) -> Option<(T, f64)> {
    variants
        .map(|(variant, measured)| (variant, measured.len(), median(measured.into_iter())))
        .max_by(|(_, a_repeats, a), (_, b_repeats, b)| {
            a_repeats.cmp(b_repeats).then(a.total_cmp(b))
        })
        .map(|(variant, _, median)| (variant, median))
}
