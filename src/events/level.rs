//! A level as an event tells of it, for those who hear one.

use prost::Message as _;

use super::StockUpdated;
use crate::domain::{LevelKey, Location, Product, Sku, StockLevel, Timestamp, Version};

/// The level that the body of a `StockUpdated` holds; none where it holds nothing that
/// could be one.
pub fn updated_level(body: &[u8]) -> Option<StockLevel> {
    let updated = StockUpdated::decode(body).ok()?;
    let level = updated.level?;
    let time = level.update_time?;
    let us = time.seconds.checked_mul(1_000_000)?;
    let is_possible = level.version >= 1
        && (StockLevel::ON_HAND_MIN..=StockLevel::UNITS_MAX).contains(&level.on_hand)
        && (0..=Product::BACKORDER_UNITS_MAX).contains(&level.backorder_limit)
        && (0..=level.on_hand + level.backorder_limit).contains(&level.reserved)
        && updated.low_stock_threshold >= 0;
    is_possible.then_some(())?;
    Some(StockLevel {
        key: LevelKey {
            sku: Sku::new(level.sku).ok()?,
            location: Location::new(level.location.as_str()).ok()?,
        },
        on_hand: level.on_hand,
        reserved: level.reserved,
        version: Version::new(level.version),
        low_stock_threshold: updated.low_stock_threshold,
        backorder_limit: level.backorder_limit,
        updated: Timestamp::from_us(us.checked_add(i64::from(time.nanos) / 1_000)?),
    })
}
