//! How much of a SKU is at a location. `version` guards every write.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stock_level")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sku: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub location: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub version: i64,
    pub low_stock_threshold: i64,
    pub updated_us: i64,
    pub deleted: bool,
    pub backorder_limit: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
