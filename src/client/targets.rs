//! Which levels a watch is about: what is sent to the server, and what that selects.

use std::collections::HashSet;

use super::levels::Levels;
use super::proto::stock_selector::Selector;
use super::proto::{
    AllLevels, LowLevels, SeenLevel, StockKey, StockSelector, WatchDelivery, WatchStockRequest,
};

/// What an empty location means.
const MAIN: &str = "main";

/// Which levels to watch, and whether each version of them is wanted.
///
/// ```
/// use stockroom::client::WatchTargets;
///
/// // What is nearly sold out anywhere, and all that lies in York.
/// let targets = WatchTargets::low_only().and(WatchTargets::location("york"));
/// # let _ = targets;
/// ```
#[derive(Debug, Clone)]
pub struct WatchTargets {
    selectors: Vec<StockSelector>,
    delivery: WatchDelivery,
}

impl WatchTargets {
    /// Every level of the store, those that do not exist yet included.
    pub fn all() -> Self {
        Self::of([Selector::All(AllLevels {})])
    }

    /// These levels; an empty location means `main`. At most 10,000.
    pub fn levels(levels: impl IntoIterator<Item = StockKey>) -> Self {
        Self::of(levels.into_iter().map(Selector::Level))
    }

    /// Every level whose SKU begins with this, those that do not exist yet included.
    pub fn sku_prefix(prefix: impl Into<String>) -> Self {
        Self::of([Selector::SkuPrefix(prefix.into())])
    }

    /// Every level at this location, those that do not exist yet included.
    pub fn location(location: impl Into<String>) -> Self {
        Self::of([Selector::Location(location.into())])
    }

    /// Every level that is low: when it becomes low, with each change while it
    /// is, and once more when it no longer is.
    pub fn low_only() -> Self {
        Self::of([Selector::LowOnly(LowLevels {})])
    }

    /// These levels and those of `other`: every version if either wants that.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if other.wants_every_change() {
            self.delivery = other.delivery;
        }
        self.selectors.extend(other.selectors);
        self
    }

    /// Every version of each level, in order and without a gap, instead of the
    /// latest. The server takes this for [`WatchTargets::levels`] only. A level
    /// begins with its present value.
    #[must_use]
    pub fn every_change(mut self) -> Self {
        self.delivery = WatchDelivery::EveryChange;
        self
    }

    /// The request that begins a stream: for somebody who watches without
    /// [`Watch`](super::Watch). `store_id` is that of the versions in `seen`,
    /// empty when there are none. What was seen is watched for that, and is not
    /// selected by its name as well: the request of a resume is hardly larger than the first.
    pub fn request(&self, store_id: &str, seen: Vec<SeenLevel>) -> WatchStockRequest {
        let named = seen.iter().map(|level| name(&level.sku, &level.location));
        let named: HashSet<_> = named.collect();
        let unseen = self.selectors.iter().filter(|it| match &it.selector {
            Some(Selector::Level(key)) => !named.contains(&name(&key.sku, &key.location)),
            _ => true,
        });
        WatchStockRequest {
            selectors: unseen.cloned().collect(),
            seen,
            store_id: store_id.to_owned(),
            delivery: self.delivery.into(),
        }
    }

    /// Whether no version may be left out.
    pub(super) fn wants_every_change(&self) -> bool {
        self.delivery == WatchDelivery::EveryChange
    }

    pub(super) fn selection(&self) -> Selection {
        let mut selection = Selection::default();
        for selector in &self.selectors {
            match &selector.selector {
                Some(Selector::Level(key)) => selection.name(key),
                Some(Selector::SkuPrefix(prefix)) => selection.prefixes.push(prefix.clone()),
                Some(Selector::Location(location)) => selection.locations.push(location.clone()),
                Some(Selector::All(_)) => selection.all = true,
                Some(Selector::LowOnly(_)) => selection.low = true,
                None => {}
            }
        }
        selection
    }

    fn of(selectors: impl IntoIterator<Item = Selector>) -> Self {
        let selectors = selectors.into_iter().map(|selector| StockSelector {
            selector: Some(selector),
        });
        Self {
            selectors: selectors.collect(),
            delivery: WatchDelivery::Latest,
        }
    }
}

/// Selectors, as something that can be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    all: bool,
    low: bool,
    prefixes: Vec<String>,
    locations: Vec<String>,
    named: Levels<()>,
}

impl Selection {
    /// Whether the level is selected, however much there is of it.
    pub(super) fn always(&self, sku: &str, location: &str) -> bool {
        self.all
            || self.named.get(sku, location).is_some()
            || self.locations.iter().any(|selected| selected == location)
            || self.prefixes.iter().any(|prefix| sku.starts_with(prefix))
    }

    /// Whether every level is selected while it is low.
    pub(super) fn low(&self) -> bool {
        self.low
    }

    /// The levels that are selected by their names, as (SKU, location).
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.named.iter();
        named.map(|(sku, location, ())| (sku, location))
    }

    fn name(&mut self, key: &StockKey) {
        let (sku, location) = name(&key.sku, &key.location);
        self.named.entry(sku, location);
    }
}

/// A level as (SKU, location).
fn name<'a>(sku: &'a str, location: &'a str) -> (&'a str, &'a str) {
    (sku, if location.is_empty() { MAIN } else { location })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sku: &str, location: &str) -> StockKey {
        StockKey {
            sku: sku.to_owned(),
            location: location.to_owned(),
        }
    }

    #[test]
    fn targets_select_the_union_of_their_parts() {
        let targets = WatchTargets::levels([key("a", ""), key("b", "york")])
            .and(WatchTargets::sku_prefix("85"))
            .and(WatchTargets::location("leeds"));
        let selection = targets.selection();
        let selected = [
            ("a", "main"),
            ("b", "york"),
            ("85123A", "york"),
            ("z", "leeds"),
        ];
        for (sku, location) in selected {
            assert!(selection.always(sku, location), "{sku}@{location}");
        }
        for (sku, location) in [("a", "york"), ("b", "main"), ("8", "york")] {
            assert!(!selection.always(sku, location), "{sku}@{location}");
        }
        assert!(!selection.low());
        let all = WatchTargets::low_only().and(WatchTargets::all());
        assert!(all.selection().low() && all.selection().always("q", "x"));
    }

    #[test]
    fn a_resume_names_each_level_once() {
        let seen = |sku: &str, location: &str| SeenLevel {
            sku: sku.to_owned(),
            location: location.to_owned(),
            version: 1,
        };
        let targets = WatchTargets::levels([key("a", ""), key("b", "york"), key("c", "main")])
            .and(WatchTargets::sku_prefix("85"));
        let request = targets.request("", vec![seen("a", "main"), seen("b", "york")]);
        assert_eq!(request.seen.len(), 2);
        let left = WatchTargets::levels([key("c", "main")]).and(WatchTargets::sku_prefix("85"));
        assert_eq!(request.selectors, left.selectors);
    }

    #[test]
    fn every_change_survives_a_union() {
        let one = || WatchTargets::levels([key("a", "")]);
        let either = [
            one().every_change().and(one()),
            one().and(one().every_change()),
        ];
        for targets in either {
            let request = targets.request("", Vec::new());
            assert_eq!(request.delivery(), WatchDelivery::EveryChange);
            assert_eq!(request.selectors.len(), 2);
        }
    }
}
