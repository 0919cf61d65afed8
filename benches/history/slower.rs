//! What is published of two pages of one list.

/// The larger of the medians of both, and the larger of their 99th percentiles. Each page is
/// looked at by itself: the median of all calls together would be where the slowest of
/// the one meets the fastest of the other. Each has been asked for at least once.
pub(crate) fn of_the_slower(pages: [Vec<f64>; 2]) -> [f64; 2] {
    let [first, second] = pages.map(|mut times| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    });
    [first[0].max(second[0]), first[1].max(second[1])]
}
