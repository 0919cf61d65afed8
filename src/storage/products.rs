//! Storing products, and finding the levels that a changed threshold touches.

use sea_orm::sqlx::{AssertSqlSafe, query};
use sea_orm::{FromQueryResult as _, QueryResult};

use super::commit::{Parameters, column, store};
use super::entity::{product, stock_level};
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

/// `{skus}` stands for the SKUs that are asked for.
const STORED: &str = "SELECT * FROM product WHERE sku {skus}";

const WITH_OLD_THRESHOLD: &str = "\
SELECT l.* FROM stock_level AS l
JOIN product AS p ON p.sku = l.sku
WHERE l.sku {skus} AND l.low_stock_threshold <> p.low_stock_threshold
ORDER BY l.sku, l.location";

impl WriteTx {
    /// Reads those of `products` that exist, as they are stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored_products(
        &mut self,
        products: &[&Product],
    ) -> Result<Vec<Product>, StorageError> {
        let rows = self.of_skus(STORED, products).await?;
        rows.iter()
            .map(|row| {
                let row = product::Model::from_query_result(row, "")?;
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
    pub async fn upsert_products(&mut self, products: &[&Product]) -> Result<(), StorageError> {
        match self {
            Self::Postgres(tx) => {
                let statement = query(UPSERT_POSTGRES)
                    .bind(column(products, |p| p.sku.as_str()))
                    .bind(column(products, |p| p.display_name.as_str()))
                    .bind(column(products, |p| p.low_stock_threshold));
                statement.execute(&mut **tx).await?;
            }
            Self::Sqlite(tx) => {
                store(
                    tx,
                    UPSERT_SQLITE,
                    Parameters::default(),
                    3,
                    products,
                    |row, product| {
                        row.add(product.sku.as_str());
                        row.add(product.display_name.as_str());
                        row.add(product.low_stock_threshold);
                    },
                )
                .await?;
            }
        }
        Ok(())
    }

    /// The levels of `products` whose threshold is not the product's any more,
    /// in ascending order of their keys.
    ///
    /// # Errors
    /// The database failed.
    pub async fn levels_with_old_threshold(
        &mut self,
        products: &[&Product],
    ) -> Result<Vec<StockLevel>, StorageError> {
        let rows = self.of_skus(WITH_OLD_THRESHOLD, products).await?;
        let level = |row| stock::level(stock_level::Model::from_query_result(row, "")?);
        rows.iter().map(level).collect()
    }

    async fn of_skus(
        &mut self,
        sql: &'static str,
        products: &[&Product],
    ) -> Result<Vec<QueryResult>, StorageError> {
        Ok(match self {
            Self::Postgres(tx) => {
                let text = AssertSqlSafe(sql.replace("{skus}", "= ANY ($1)"));
                let skus = column(products, |p| p.sku.as_str());
                let rows = query(text).bind(skus).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Into::into).collect()
            }
            Self::Sqlite(tx) => {
                let text = sql.replace("{skus}", "IN (SELECT value FROM json_each($1))");
                let skus = serde_json::Value::from_iter(products.iter().map(|p| p.sku.as_str()));
                let statement = query(AssertSqlSafe(text)).bind(skus.to_string());
                let rows = statement.fetch_all(&mut **tx).await?;
                rows.into_iter().map(Into::into).collect()
            }
        })
    }
}
