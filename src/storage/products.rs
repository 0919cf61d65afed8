//! Storing products, and finding the levels that a changed threshold touches.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, RelationTrait};

use super::entity::{product, stock_level};
use super::rows::Rows;
use super::{StorageError, WriteTx, stock};
use crate::domain::{Product, Sku, StockLevel};

const UPSERT_POSTGRES: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold)
SELECT sku, display_name, low_stock_threshold
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (sku, display_name, low_stock_threshold)
ORDER BY sku COLLATE \"C\"
ON CONFLICT ON CONSTRAINT product_pkey DO UPDATE
SET display_name = excluded.display_name, low_stock_threshold = excluded.low_stock_threshold";

const UPSERT_SQLITE: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
ON CONFLICT (sku) DO UPDATE
SET display_name = excluded.display_name, low_stock_threshold = excluded.low_stock_threshold";

impl WriteTx {
    /// Reads those of `products` that exist, as they are stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored_products(
        &self,
        products: &[Product],
    ) -> Result<Vec<Product>, StorageError> {
        let skus = products.iter().map(|p| p.sku.as_str());
        let rows = product::Entity::find()
            .filter(product::Column::Sku.is_in(skus))
            .all(&self.tx)
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Product {
                    sku: Sku::new(row.sku)
                        .map_err(|e| StorageError::corrupt(format!("product.sku {e}")))?,
                    display_name: row.display_name,
                    low_stock_threshold: row.low_stock_threshold,
                })
            })
            .collect()
    }

    /// Creates or replaces products, and keeps their rows locked: until the
    /// commit nobody can give one of them its first level at a new location.
    ///
    /// # Errors
    /// The database failed.
    pub async fn upsert_products(&self, products: &[&Product]) -> Result<(), StorageError> {
        let rows = Rows::default()
            .text(products.iter().map(|p| p.sku.as_str()))
            .text(products.iter().map(|p| p.display_name.as_str()))
            .int(products.iter().map(|p| p.low_stock_threshold));
        let sql = match self.backend() {
            DbBackend::Postgres => UPSERT_POSTGRES,
            _ => UPSERT_SQLITE,
        };
        self.execute(sql, rows).await?;
        Ok(())
    }

    /// The levels of `products` whose threshold is not the product's any more,
    /// in ascending order of their keys.
    ///
    /// # Errors
    /// The database failed.
    pub async fn levels_with_old_threshold(
        &self,
        products: &[&Product],
    ) -> Result<Vec<StockLevel>, StorageError> {
        let rows = stock_level::Entity::find()
            .join(
                sea_orm::JoinType::InnerJoin,
                stock_level::Relation::Product.def(),
            )
            .filter(stock_level::Column::Sku.is_in(products.iter().map(|p| p.sku.as_str())))
            .filter(
                Expr::col((stock_level::Entity, stock_level::Column::LowStockThreshold)).ne(
                    Expr::col((product::Entity, product::Column::LowStockThreshold)),
                ),
            )
            .all(&self.tx)
            .await?;
        let mut levels: Vec<StockLevel> = rows
            .into_iter()
            .map(stock::level)
            .collect::<Result<_, _>>()?;
        levels.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(levels)
    }
}
