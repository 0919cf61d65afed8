//! Products: storing and reading them, and finding the levels that a changed product
//! touches.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::sqlx::query;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use sea_orm::{FromQueryResult as _, QueryResult, QuerySelect as _};

use super::commit::{Parameters, column, store};
use super::entity::{product, stock_level};
use super::raw::{RawStatement, RawValue};
use super::{StorageError, Store, WriteTx, stock};
use crate::domain::{Product, Sku, StockLevel};

const UPSERT_POSTGRES: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold, backorder_limit)
SELECT sku, display_name, low_stock_threshold, backorder_limit
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
     AS n (sku, display_name, low_stock_threshold, backorder_limit)
ORDER BY sku COLLATE \"C\"
ON CONFLICT ON CONSTRAINT product_pkey DO UPDATE
SET display_name = excluded.display_name, low_stock_threshold = excluded.low_stock_threshold,
    backorder_limit = excluded.backorder_limit";

const UPSERT_SQLITE: &str = "\
INSERT INTO product (sku, display_name, low_stock_threshold, backorder_limit)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
ON CONFLICT (sku) DO UPDATE
SET display_name = excluded.display_name, low_stock_threshold = excluded.low_stock_threshold,
    backorder_limit = excluded.backorder_limit";

/// A statement about SKUs: what comes before them, what comes after, and how PostgreSQL
/// locks the rows. On SQLite the transaction itself is the lock.
macro_rules! of_skus {
    ($before:expr, $after:expr, $lock:literal) => {
        RawStatement {
            postgres: concat!($before, " = ANY ($1)", $after, $lock),
            sqlite: concat!($before, " IN (SELECT value FROM json_each($1))", $after),
        }
    };
}

const STORED: RawStatement = of_skus!(
    "SELECT sku, display_name, low_stock_threshold, backorder_limit FROM product WHERE sku",
    " ORDER BY sku",
    " FOR NO KEY UPDATE"
);

/// All of `stock_level AS l`. By name and not `*`: prepared with that, a statement fails on
/// its connection from the moment that a migration adds a column to the table.
macro_rules! columns_of_level {
    () => {
        "l.sku, l.location, l.on_hand, l.reserved, l.version, l.low_stock_threshold, \
         l.updated_us, l.deleted, l.backorder_limit"
    };
}

const UNLIKE_PRODUCT: RawStatement = of_skus!(
    concat!(
        "SELECT ",
        columns_of_level!(),
        "
FROM stock_level AS l
JOIN product AS p ON p.sku = l.sku
WHERE l.sku"
    ),
    "
  AND (l.low_stock_threshold <> p.low_stock_threshold OR l.backorder_limit <> p.backorder_limit OR l.deleted)
ORDER BY l.sku, l.location",
    " FOR UPDATE OF l"
);

/// Levels repeat the limits of their products, and those that were left behind belong to a
/// product again: what the guard of a commit does not write, since no order changes it.
const FOLLOW: RawStatement = of_skus!(
    "UPDATE stock_level AS l SET deleted = false, backorder_limit = p.backorder_limit
FROM product AS p
WHERE l.sku",
    " AND p.sku = l.sku AND (l.deleted OR l.backorder_limit <> p.backorder_limit)",
    ""
);

const OF_PRODUCT: RawStatement = of_skus!(
    concat!(
        "SELECT ",
        columns_of_level!(),
        " FROM stock_level AS l WHERE l.sku"
    ),
    " AND NOT l.deleted ORDER BY l.sku, l.location",
    " FOR UPDATE"
);

/// One page of products in ascending SKU.
#[derive(Debug)]
pub struct ProductPage {
    /// The products.
    pub products: Vec<Product>,
    /// Whether there are products after the last one.
    pub more: bool,
}

impl Store {
    /// Finds a product. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_product(&self, sku: &Sku) -> Result<Option<Product>, StorageError> {
        let read = async {
            let find = product::Entity::find_by_id(sku.as_str());
            let row = find.one(&self.readers()).await?;
            row.map(product_of).transpose()
        };
        self.readers.bounded(read).await
    }

    /// Finds those of `skus` that are products. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_products(&self, skus: &[&Sku]) -> Result<Vec<Product>, StorageError> {
        let skus = skus.iter().map(|sku| sku.as_str());
        let find = product::Entity::find().filter(product::Column::Sku.is_in(skus));
        let read = async { Ok(find.all(&self.readers()).await?) };
        let rows = self.readers.bounded(read).await?;
        rows.into_iter().map(product_of).collect()
    }

    /// Reads the page of at most `limit` products after `after` whose SKU begins with
    /// `prefix`, from its place in the primary key on. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_products(
        &self,
        after: Option<&Sku>,
        prefix: &str,
        limit: usize,
    ) -> Result<ProductPage, StorageError> {
        let mut find = product::Entity::find();
        if let Some(after) = after {
            find = find.filter(product::Column::Sku.gt(after.as_str()));
        }
        if let Some(end) = stock::after_prefix(prefix) {
            find = find.filter(product::Column::Sku.gte(prefix));
            find = find.filter(product::Column::Sku.lt(end));
        }
        // One row more than the page has says whether there is another page.
        let find = find.order_by_asc(product::Column::Sku);
        let find = find.limit(limit as u64 + 1);
        let read = async { Ok(find.all(&self.readers()).await?) };
        let mut rows = self.readers.bounded(read).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let products = rows.into_iter().map(product_of).collect::<Result<_, _>>()?;
        Ok(ProductPage { products, more })
    }

    /// The levels of a product in ascending order of their locations. Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn levels_of(&self, sku: &Sku) -> Result<Vec<StockLevel>, StorageError> {
        let find = stock_level::Entity::find()
            .filter(stock_level::Column::Sku.eq(sku.as_str()))
            .filter(stock_level::Column::Deleted.eq(false))
            .order_by_asc(stock_level::Column::Location);
        let read = async { Ok(find.all(&self.readers()).await?) };
        let rows = self.readers.bounded(read).await?;
        rows.into_iter().map(stock::level).collect()
    }

    /// The levels of `skus` that have units on backorder, in ascending order of their keys.
    /// Reads the primary.
    ///
    /// # Errors
    /// The database failed.
    pub async fn levels_on_backorder(
        &self,
        skus: &[&Sku],
    ) -> Result<Vec<StockLevel>, StorageError> {
        use stock_level::Column;
        let skus = skus.iter().map(|sku| sku.as_str());
        let find = stock_level::Entity::find()
            .filter(Column::Sku.is_in(skus))
            .filter(Expr::col(Column::OnHand).lt(Expr::col(Column::Reserved)))
            .order_by_asc(Column::Sku)
            .order_by_asc(Column::Location);
        let read = async { Ok(find.all(&self.readers()).await?) };
        let rows = self.readers.bounded(read).await?;
        rows.into_iter().map(stock::level).collect()
    }
}

impl WriteTx {
    /// Locks a product, and with it its right to new levels, until the transaction ends.
    /// False when there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_product(&mut self, sku: &Sku) -> Result<bool, StorageError> {
        const LOCK: RawStatement = of_skus!("SELECT sku FROM product WHERE sku", "", " FOR UPDATE");
        Ok(!self.of_skus(LOCK, &[sku]).await?.is_empty())
    }

    /// Reads the levels of a product, in ascending order, and keeps them locked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock_levels_of(&mut self, sku: &Sku) -> Result<Vec<StockLevel>, StorageError> {
        let rows = self.of_skus(OF_PRODUCT, &[sku]).await?;
        let level = |row| stock::level(stock_level::Model::from_query_result(row, "")?);
        rows.iter().map(level).collect()
    }

    /// Deletes a product, whose levels are empty and locked: they stay as what is left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_product(&mut self, sku: &Sku) -> Result<(), StorageError> {
        const LEAVE: RawStatement = of_skus!(
            "UPDATE stock_level SET deleted = true, backorder_limit = 0 WHERE sku",
            "",
            ""
        );
        const DELETE: RawStatement = of_skus!("DELETE FROM product WHERE sku", "", "");
        self.of_skus(LEAVE, &[sku]).await?;
        self.of_skus(DELETE, &[sku]).await?;
        Ok(())
    }

    /// Gives `products` the levels that were left behind when they were deleted, and all of
    /// their levels their limits. None has less available than that allows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow_products(&mut self, products: &[&Product]) -> Result<(), StorageError> {
        let skus: Vec<&Sku> = products.iter().map(|product| &product.sku).collect();
        self.of_skus(FOLLOW, &skus).await?;
        Ok(())
    }

    /// Reads those of `products` that exist, as they are stored, and keeps them locked
    /// against others who would change them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored_products(
        &mut self,
        products: &[&Product],
    ) -> Result<Vec<Product>, StorageError> {
        let skus: Vec<&Sku> = products.iter().map(|product| &product.sku).collect();
        let rows = self.of_skus(STORED, &skus).await?;
        rows.iter()
            .map(|row| product_of(product::Model::from_query_result(row, "")?))
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
                    .bind(column(products, |p| p.low_stock_threshold))
                    .bind(column(products, |p| p.backorder_limit));
                statement.execute(&mut **tx).await?;
            }
            Self::Sqlite(tx) => {
                store(
                    tx,
                    UPSERT_SQLITE,
                    Parameters::default(),
                    4,
                    products,
                    |row, product| {
                        row.add(product.sku.as_str());
                        row.add(product.display_name.as_str());
                        row.add(product.low_stock_threshold);
                        row.add(product.backorder_limit);
                    },
                )
                .await?;
            }
        }
        Ok(())
    }

    /// The levels of `products` that do not repeat what the product says, in ascending
    /// order of their keys, and kept locked: somebody who sells them without a pause would
    /// otherwise be ahead of every attempt.
    ///
    /// # Errors
    /// The database failed.
    pub async fn levels_unlike(
        &mut self,
        products: &[&Product],
    ) -> Result<Vec<StockLevel>, StorageError> {
        let skus: Vec<&Sku> = products.iter().map(|product| &product.sku).collect();
        let rows = self.of_skus(UNLIKE_PRODUCT, &skus).await?;
        let level = |row| stock::level(stock_level::Model::from_query_result(row, "")?);
        rows.iter().map(level).collect()
    }

    async fn of_skus(
        &mut self,
        statement: RawStatement,
        skus: &[&Sku],
    ) -> Result<Vec<QueryResult>, StorageError> {
        let skus = RawValue::texts(skus.iter().map(|sku| sku.as_str()));
        self.rows(statement, &[skus]).await
    }
}

fn product_of(row: product::Model) -> Result<Product, StorageError> {
    let sku = Sku::new(row.sku);
    Ok(Product {
        sku: sku.map_err(|e| StorageError::corrupt(format!("product.sku {e}")))?,
        display_name: row.display_name,
        low_stock_threshold: row.low_stock_threshold,
        backorder_limit: row.backorder_limit,
    })
}
