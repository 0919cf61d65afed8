//! What a watcher asks for.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::super::convert::Fields;
use crate::domain::{Invalid, LevelKey, Location, Sku, Version};
use crate::error::Error;
use crate::feed::Targets;
use crate::proto::stock_selector::Selector;
use crate::proto::{WatchDelivery, WatchStockRequest};

/// Each that is no level is a list that the snapshot reads, and the feed again with every
/// re-read.
const SELECTORS_MAX: usize = 10_000;

/// As many as fit into a request of the default `server.message_bytes_max`, at 42 bytes each.
const SEEN_LEVELS_MAX: usize = 100_000;

/// A validated request.
pub(super) struct WatchRequest {
    /// The union of the selectors and of what was seen.
    pub(super) targets: Targets,
    /// The last versions that the caller saw.
    pub(super) seen: HashMap<LevelKey, Version>,
    /// The store they came from; none means this one.
    pub(super) store_id: Option<Uuid>,
    /// Whether nothing may be folded; then the targets are levels by name alone.
    pub(super) every_change: bool,
}

impl WatchRequest {
    pub(super) fn parse(request: WatchStockRequest) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let mut targets = Targets::default();
        for (name, count, max) in [
            ("selectors", request.selectors.len(), SELECTORS_MAX),
            ("seen", request.seen.len(), SEEN_LEVELS_MAX),
        ] {
            if count > max {
                let description = format!("must have at most {max} entries, has {count}");
                fields.refuse(name, description);
            }
        }
        if request.selectors.is_empty() && request.seen.is_empty() {
            fields.refuse("selectors", "must have an entry when seen has none");
        }
        let mut prefixes = Vec::new();
        for (i, selector) in request.selectors.iter().take(SELECTORS_MAX).enumerate() {
            let Some(selector) = &selector.selector else {
                let one_of = "must be level, sku_prefix, location, all or low_only";
                fields.refuse(format!("selectors[{i}]"), one_of);
                continue;
            };
            let field = |name| format!("selectors[{i}].{name}");
            let selectors = &mut targets.selectors;
            match selector {
                Selector::Level(level) => {
                    let key = fields.key(&field("level."), &level.sku, &level.location);
                    targets.keys.extend(key);
                }
                Selector::SkuPrefix(prefix) => {
                    // A prefix is shaped as a SKU is; an empty one would be `all`.
                    if fields
                        .take(field("sku_prefix"), Sku::new(prefix.as_str()))
                        .is_some()
                    {
                        prefixes.push(prefix.as_str());
                    }
                }
                Selector::Location(location) if location.is_empty() => {
                    fields.refuse(field("location"), "must not be empty");
                }
                Selector::Location(location) => {
                    let location = fields.take(field("location"), Location::new(location));
                    selectors.locations.extend(location);
                }
                Selector::All(_) => selectors.all = true,
                Selector::LowOnly(_) => selectors.low = true,
            }
        }
        targets.selectors.prefixes = prefixes.into_iter().collect();
        let seen = parse_seen(&mut fields, &request, &mut targets.keys);
        let store_id = match request.store_id.as_str() {
            "" => None,
            text => {
                let id = Uuid::try_parse(text).map_err(|_| Invalid("must be a UUID".to_owned()));
                fields.take("store_id", id)
            }
        };
        let every_change = parse_delivery(&mut fields, &request);
        fields.finish(Some(Self {
            targets,
            seen,
            store_id,
            every_change,
        }))
    }
}

/// Whether every change is asked for, which takes levels by name: those that a set
/// gains later would have no version to begin at.
fn parse_delivery(fields: &mut Fields, request: &WatchStockRequest) -> bool {
    match WatchDelivery::try_from(request.delivery) {
        Ok(WatchDelivery::Unspecified | WatchDelivery::Latest) => return false,
        Ok(WatchDelivery::EveryChange) => {}
        Err(_) => {
            fields.refuse("delivery", "must be LATEST, EVERY_CHANGE or absent");
            return false;
        }
    }
    for (i, selector) in request.selectors.iter().take(SELECTORS_MAX).enumerate() {
        if let Some(selector) = &selector.selector
            && !matches!(selector, Selector::Level(_))
        {
            let only = "must be level when delivery is EVERY_CHANGE";
            fields.refuse(format!("selectors[{i}]"), only);
        }
    }
    true
}

fn parse_seen(
    fields: &mut Fields,
    request: &WatchStockRequest,
    keys: &mut BTreeSet<LevelKey>,
) -> HashMap<LevelKey, Version> {
    let mut seen = HashMap::with_capacity(request.seen.len().min(SEEN_LEVELS_MAX));
    for (i, level) in request.seen.iter().take(SEEN_LEVELS_MAX).enumerate() {
        let prefix = format!("seen[{i}].");
        let key = fields.key(&prefix, &level.sku, &level.location);
        let version = fields.version(format!("{prefix}version"), level.version);
        let (Some(key), Some(version)) = (key, version) else {
            continue;
        };
        keys.insert(key.clone());
        if seen.insert(key, version).is_some() {
            fields.refuse(format!("seen[{i}]"), "must name each level once");
        }
    }
    seen
}
