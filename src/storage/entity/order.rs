//! Orders with their lines.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub(in crate::storage) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    pub request_id: String,
    pub state: i16,
    pub lines: Json,
    pub customer_ref: Option<String>,
    pub labels: Option<Json>,
    pub created_us: i64,
    pub updated_us: i64,
    pub version: i64,
    pub expires_us: Option<i64>,
    pub cancel_reason: Option<String>,
    /// Lists of versions.
    pub moved: Option<Json>,
}

/// One element of `lines`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::storage) struct Line<'a> {
    #[serde(borrow)]
    pub sku: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub location: std::borrow::Cow<'a, str>,
    pub quantity: i64,
    pub version: i64,
    /// Left out where it is 0: orders that went without pay nothing for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backordered: i64,
}

fn is_zero(units: &i64) -> bool {
    *units == 0
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(in crate::storage) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
