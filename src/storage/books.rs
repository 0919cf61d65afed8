//! The books: what must hold of a store at every moment, checked by its own SQL.
//!
//! Each rule counts the rows that break it. The demo prints them, every test
//! ends with them, the bench checks them after each case.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{StorageError, Store};

/// What the books say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// Rows of the ledger.
    pub movements: i64,
    /// Orders made.
    pub orders: i64,
    /// Units that orders took.
    pub units_sold: i64,
    /// Every rule with the number of rows that break it.
    pub rules: Vec<Imbalance>,
}

/// A rule and how many rows break it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imbalance {
    /// The rule, in words.
    pub rule: &'static str,
    /// Rows that break it; 0 when it holds.
    pub broken_by: i64,
}

impl Books {
    /// Whether every rule holds.
    pub fn balanced(&self) -> bool {
        self.rules.iter().all(|rule| rule.broken_by == 0)
    }
}

/// A rule's words and its SQL, which both stores understand except where
/// `{lines}` stands for the lines of all orders as rows.
const RULES: &[(&str, &str)] = &[
    (
        "no level is negative or reserved beyond on_hand",
        "SELECT count(*) FROM stock_level WHERE on_hand < 0 OR reserved < 0 OR reserved > on_hand",
    ),
    (
        "movements sum to levels, and versions count movements",
        "SELECT count(*) FROM (
             SELECT sku, location, count(*) AS n, min(version) AS first, max(version) AS last,
                    sum(on_hand_delta) AS on_hand, sum(reserved_delta) AS reserved
             FROM movement GROUP BY sku, location
         ) AS m
         FULL JOIN stock_level AS l ON l.sku = m.sku AND l.location = m.location
         WHERE l.sku IS NULL OR m.sku IS NULL OR m.n <> l.version OR m.first <> 1 OR m.last <> l.version
            OR m.on_hand <> l.on_hand OR m.reserved <> l.reserved",
    ),
    (
        "each movement follows from the one before it",
        "SELECT count(*) FROM (
             SELECT on_hand - on_hand_delta AS before, reserved - reserved_delta AS reserved_before,
                    lag(on_hand, 1, 0) OVER w AS last, lag(reserved, 1, 0) OVER w AS last_reserved
             FROM movement
             WINDOW w AS (PARTITION BY sku, location ORDER BY version)
         ) AS m
         WHERE before <> last OR reserved_before <> last_reserved",
    ),
    (
        "order lines sum to the movements that the orders made",
        "SELECT count(*) FROM (
             SELECT order_id, sku, location, version, CAST(sum(quantity) AS bigint) AS units
             FROM ({lines}) AS line GROUP BY order_id, sku, location, version
         ) AS o
         FULL JOIN (SELECT * FROM movement WHERE order_id IS NOT NULL) AS m
             ON m.order_id = o.order_id AND m.sku = o.sku AND m.location = o.location AND m.version = o.version
         WHERE o.order_id IS NULL OR m.order_id IS NULL OR o.units <> -m.on_hand_delta",
    ),
    (
        "each order was made by one request, and each request made what it names",
        "SELECT count(*) FROM request AS r
         FULL JOIN orders AS o ON o.order_id = r.order_id AND o.request_id = r.request_id
         LEFT JOIN movement AS m ON m.sku = r.sku AND m.location = r.location AND m.version = r.version
             AND m.request_id = r.request_id
         WHERE r.request_id IS NULL OR (o.order_id IS NULL AND m.sku IS NULL)",
    ),
    (
        "no unit is reserved without a hold",
        "SELECT count(*) FROM stock_level WHERE reserved <> 0",
    ),
];

const LINES_POSTGRES: &str = "\
SELECT o.order_id, line.* FROM orders AS o,
jsonb_to_recordset(o.lines) AS line (sku text, location text, quantity bigint, version bigint)";

const LINES_SQLITE: &str = "\
SELECT o.order_id, line.value ->> 'sku' AS sku, line.value ->> 'location' AS location,
       line.value ->> 'quantity' AS quantity, line.value ->> 'version' AS version
FROM orders AS o, json_each(o.lines) AS line";

impl Store {
    /// Checks every rule. Reads all rows: for tests, benches and the curious.
    ///
    /// # Errors
    /// The database failed.
    pub async fn check_books(&self) -> Result<Books, StorageError> {
        let lines = match self.backend() {
            DbBackend::Postgres => LINES_POSTGRES,
            _ => LINES_SQLITE,
        };
        let mut rules = Vec::new();
        for &(rule, sql) in RULES {
            let broken_by = self.count(&sql.replace("{lines}", lines)).await?;
            rules.push(Imbalance { rule, broken_by });
        }
        Ok(Books {
            movements: self.count("SELECT count(*) FROM movement").await?,
            orders: self.count("SELECT count(*) FROM orders").await?,
            units_sold: self
                .count(
                    "SELECT CAST(coalesce(-sum(on_hand_delta), 0) AS bigint) FROM movement \
                     WHERE order_id IS NOT NULL",
                )
                .await?,
            rules,
        })
    }

    async fn count(&self, sql: &str) -> Result<i64, StorageError> {
        let statement = Statement::from_string(self.backend(), sql);
        let row = self.readers.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| StorageError::corrupt("count(*) gave no row"))?;
        Ok(row.try_get_by_index(0)?)
    }
}
