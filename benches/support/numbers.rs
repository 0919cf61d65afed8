//! What becomes of many numbers.

use std::collections::{BTreeMap, BTreeSet};

/// The one in the middle, or between the two in the middle; 0 of none.
pub(crate) fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => 0.0,
    }
}

/// With so many digits behind the point.
pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

/// The median of each value that one of `maps` has, with three digits.
pub(crate) fn medians<'a>(
    maps: impl Iterator<Item = &'a BTreeMap<&'static str, f64>> + Clone,
) -> BTreeMap<&'static str, f64> {
    let names: BTreeSet<&str> = maps.clone().flat_map(|map| map.keys().copied()).collect();
    let value = |name| {
        let values = maps.clone().filter_map(|map| map.get(name).copied());
        (name, rounded(median(values), 3))
    };
    names.into_iter().map(value).collect()
}
