//! SeaORM entities: the schema of `migrations/` as types.

pub(super) mod movement;
pub(super) mod order;
pub(super) mod product;
pub(super) mod request;
pub(super) mod stock_level;
pub(super) mod store;
