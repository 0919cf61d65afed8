//! What is known of each level.

use std::collections::HashMap;

/// By location, then SKU: two steps, so that a look-up needs no new string.
#[derive(Debug, Clone, Default)]
pub(super) struct Levels<T>(HashMap<String, HashMap<String, T>>);

impl<T: Default> Levels<T> {
    pub(super) fn get(&self, sku: &str, location: &str) -> Option<&T> {
        self.0.get(location)?.get(sku)
    }

    pub(super) fn get_mut(&mut self, sku: &str, location: &str) -> Option<&mut T> {
        self.0.get_mut(location)?.get_mut(sku)
    }

    /// What is known of the level; from now on something is.
    pub(super) fn entry(&mut self, sku: &str, location: &str) -> &mut T {
        let skus = self.0.entry(location.to_owned()).or_default();
        skus.entry(sku.to_owned()).or_default()
    }

    /// All of it, as (SKU, location, what is known).
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &T)> {
        self.0.iter().flat_map(|(location, skus)| {
            let skus = skus.iter();
            skus.map(|(sku, known)| (sku.as_str(), location.as_str(), known))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &str, &mut T)> {
        self.0.iter_mut().flat_map(|(location, skus)| {
            let skus = skus.iter_mut();
            skus.map(|(sku, known)| (sku.as_str(), location.as_str(), known))
        })
    }
}
