//! The books: what must hold of a store at every moment, checked by its own SQL.
//!
//! Each rule counts the rows that break it. The demo prints them, every test
//! ends with them, the bench checks them after each case.

mod parts;

use sea_orm::{ConnectionTrait, Statement};

use self::parts::in_full;
use super::{StorageError, Store};

/// What the books say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// Rows of the ledger.
    pub movements: i64,
    /// Orders made.
    pub orders: i64,
    /// Transactions that made them: everything in one transaction has one time.
    pub order_commits: i64,
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

/// A rule's words and its SQL, which both stores understand except for what [`parts`] has in
/// each one's own: `{lines}` stands for the lines of all orders as rows, `{moved}` for the
/// versions that their later changes made of their levels, `{labels}` for their labels,
/// `{filed}` for movements as they are found by time, and `{held}` and `{due}` for lines of
/// pending orders as their deadlines find them. Two sides that must agree are added up with
/// opposite signs: one sort, where a full join could compare each row with each.
const RULES: &[(&str, &str)] = &[
    (
        "no level is below its backorder limit, nor reserves less than nothing",
        NEGATIVE,
    ),
    (
        "movements sum to levels, and versions count movements",
        "SELECT count(*) FROM (
             SELECT sku, location FROM (
                 SELECT sku, location, version, 1 AS n, on_hand_delta AS on_hand, reserved_delta AS reserved
                 FROM movement
                 UNION ALL
                 SELECT sku, location, 0, -version, -on_hand, -reserved FROM stock_level
             ) AS both_sides
             GROUP BY sku, location
             HAVING sum(n) <> 0 OR sum(on_hand) <> 0 OR sum(reserved) <> 0 OR max(version) <> count(*) - 1
         ) AS broken",
    ),
    (
        "each movement follows from the one before it",
        "SELECT count(*) FROM (
             SELECT on_hand - on_hand_delta AS on_hand_before, lag(on_hand, 1, 0) OVER w AS on_hand_last,
                    reserved - reserved_delta AS reserved_before, lag(reserved, 1, 0) OVER w AS reserved_last
             FROM movement
             WINDOW w AS (PARTITION BY sku, location ORDER BY version)
         ) AS m
         WHERE on_hand_before <> on_hand_last OR reserved_before <> reserved_last",
    ),
    (
        "order lines sum to the movements that made the orders",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT order_id, sku, location, version, quantity AS units FROM ({lines}) AS line
                 UNION ALL
                 SELECT order_id, sku, location, version, on_hand_delta - reserved_delta FROM movement
                 WHERE kind IN (6, 10)
             ) AS both_sides
             GROUP BY order_id, sku, location, version
             HAVING sum(units) <> 0
         ) AS broken",
    ),
    (
        "orders name the movements that they made, and no others",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT DISTINCT order_id, sku, location, version, 1 AS n FROM ({lines}) AS line
                 UNION ALL
                 SELECT order_id, sku, location, version, 1 FROM ({moved}) AS moved
                 UNION ALL
                 SELECT order_id, sku, location, version, -1 FROM movement WHERE order_id IS NOT NULL
             ) AS both_sides
             GROUP BY order_id, sku, location, version
             HAVING sum(n) <> 0
         ) AS broken",
    ),
    // PENDING reserves, CONFIRMED has taken, EXPIRED has neither, and CANCELLED holds
    // nothing; whether it has been restocked only its movements say.
    (
        "what orders reserve and took is what their states say",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT line.order_id, sku, location,
                        CASE WHEN o.state = 1 THEN quantity ELSE 0 END AS taken,
                        CASE WHEN o.state = 2 THEN quantity ELSE 0 END AS reserved, o.state
                 FROM ({lines}) AS line JOIN orders AS o ON o.order_id = line.order_id
                 UNION ALL
                 SELECT order_id, sku, location, on_hand_delta, -reserved_delta, 0 FROM movement
                 WHERE order_id IS NOT NULL
             ) AS both_sides
             GROUP BY order_id, sku, location
             HAVING sum(reserved) <> 0 OR (sum(taken) <> 0 AND max(state) <> 3) OR sum(taken) > 0
         ) AS broken",
    ),
    (
        "each order was made by one request, and each request made what it names",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT order_id, request_id, 1 AS n FROM orders
                 UNION ALL
                 SELECT r.order_id, r.request_id, -1 FROM request AS r JOIN orders AS o
                 ON o.order_id = r.order_id AND o.request_id = r.request_id
             ) AS both_sides
             GROUP BY order_id, request_id
             HAVING sum(n) <> 0
             UNION ALL
             SELECT r.order_id FROM request AS r
             WHERE r.order_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM orders AS o WHERE o.order_id = r.order_id)
             UNION ALL
             SELECT NULL FROM (
                 SELECT request_id, sku, location, version FROM request WHERE order_id IS NULL
                 UNION ALL
                 SELECT request_id, sku, location, version FROM request_movement) AS r
             WHERE NOT EXISTS (
                 SELECT 1 FROM movement AS m
                 WHERE m.sku = r.sku AND m.location = r.location AND m.version = r.version
                   AND m.request_id = r.request_id)
         ) AS broken",
    ),
    (
        "each movement that a request made is named by it",
        "SELECT count(*) FROM (
             SELECT request_id FROM (
                 SELECT request_id, 1 AS n FROM movement WHERE request_id IS NOT NULL AND order_id IS NULL
                 UNION ALL
                 SELECT request_id, -1 FROM request WHERE order_id IS NULL
                 UNION ALL
                 SELECT request_id, -1 FROM request_movement
             ) AS both_sides
             GROUP BY request_id
             HAVING sum(n) <> 0
         ) AS broken",
    ),
    (
        "the halves of a transfer name each other, and what leaves comes to the other",
        "SELECT count(*) FROM movement AS m
         WHERE (m.kind IN (8, 9) OR m.counterpart_version IS NOT NULL) AND NOT EXISTS (
             SELECT 1 FROM movement AS o
             WHERE o.sku = m.sku AND o.location = m.counterpart_location AND o.version = m.counterpart_version
               AND o.counterpart_location = m.location AND o.counterpart_version = m.version
               AND o.request_id = m.request_id AND o.on_hand_delta = -m.on_hand_delta)",
    ),
    (
        "orders are found by the labels that they have",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT order_id, key, value, 1 AS n FROM ({labels}) AS label
                 UNION ALL
                 SELECT order_id, key, value, -1 FROM order_label
             ) AS both_sides
             GROUP BY order_id, key, value
             HAVING sum(n) <> 0
         ) AS broken",
    ),
    (
        "each level has a product, or is what an empty one left behind",
        "SELECT count(*) FROM stock_level AS l
         LEFT JOIN product AS p ON p.sku = l.sku
         WHERE l.deleted <> (p.sku IS NULL) OR (l.deleted AND (l.on_hand <> 0 OR l.reserved <> 0))",
    ),
    (
        "each level repeats the threshold and the backorder limit of its product",
        "SELECT count(*) FROM stock_level AS l
         LEFT JOIN product AS p ON p.sku = l.sku
         WHERE l.low_stock_threshold <> coalesce(p.low_stock_threshold, 0)
            OR l.backorder_limit <> coalesce(p.backorder_limit, 0)",
    ),
    (
        "what orders have on backorder is what was not available when they were made",
        "SELECT count(*) FROM (
             SELECT line.order_id FROM ({lines}) AS line
             JOIN movement AS m ON m.sku = line.sku AND m.location = line.location AND m.version = line.version
             WHERE line.backordered IS NOT NULL OR m.on_hand < m.reserved
             GROUP BY line.order_id, line.sku, line.location, line.version, m.on_hand, m.reserved, m.on_hand_delta,
                      m.reserved_delta
             HAVING sum(coalesce(line.backordered, 0)) <> CASE
                 WHEN m.on_hand >= m.reserved THEN 0
                 WHEN m.on_hand - m.on_hand_delta > m.reserved - m.reserved_delta THEN m.reserved - m.on_hand
                 ELSE m.reserved_delta - m.on_hand_delta END
         ) AS broken",
    ),
    (
        "movements are found by their time",
        "SELECT count(*) FROM (
             SELECT version FROM (
                 SELECT time_us, sku, location, version, 1 AS n FROM movement
                 UNION ALL
                 SELECT time_us, sku, location, version, -1 FROM ({filed}) AS filed
             ) AS both_sides
             GROUP BY time_us, sku, location, version
             HAVING sum(n) <> 0
         ) AS broken",
    ),
    (
        "no unit is reserved without a hold",
        RESERVED_WITHOUT_HOLD,
    ),
    (
        "pending orders are found when their holds are over, by each of their levels",
        "SELECT count(*) FROM (
             SELECT order_id FROM (
                 SELECT DISTINCT line.order_id, sku, location, 1 AS n
                 FROM ({lines}) AS line JOIN orders AS o ON o.order_id = line.order_id
                 WHERE o.state = 2
                 UNION ALL
                 SELECT DISTINCT order_id, sku, location, -1 FROM ({due}) AS due
             ) AS both_sides
             GROUP BY order_id, sku, location
             HAVING sum(n) <> 0
         ) AS broken",
    ),
];

const RESERVED_WITHOUT_HOLD: &str = "\
SELECT count(*) FROM (
    SELECT sku, location FROM (
        SELECT sku, location, reserved FROM stock_level WHERE reserved <> 0
        UNION ALL
        SELECT sku, location, -quantity FROM ({held}) AS held
    ) AS both_sides
    GROUP BY sku, location
    HAVING sum(reserved) <> 0
) AS broken";

/// The rules about levels alone.
const NEGATIVE: &str = "\
SELECT count(*) FROM stock_level WHERE reserved < 0 OR on_hand - reserved < -backorder_limit";

/// Levels that cannot be. None, unless somebody else has written to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelFaults {
    /// Levels with less available than their backorder limit allows, or less than nothing
    /// reserved.
    pub negative: i64,
    /// Levels whose `reserved` is not the sum of what is on hold.
    pub reserved_without_hold: i64,
}

impl Store {
    /// Checks every rule. Reads all rows: for tests, benches and the curious.
    ///
    /// # Errors
    /// The database failed.
    pub async fn check_books(&self) -> Result<Books, StorageError> {
        let mut rules = Vec::new();
        for &(rule, sql) in RULES {
            let broken_by = self.count(&in_full(sql, self.backend())).await?;
            rules.push(Imbalance { rule, broken_by });
        }
        Ok(Books {
            movements: self.count("SELECT count(*) FROM movement").await?,
            orders: self.count("SELECT count(*) FROM orders").await?,
            order_commits: self
                .count("SELECT count(DISTINCT created_us) FROM orders")
                .await?,
            units_sold: self
                .count(
                    "SELECT CAST(coalesce(-sum(on_hand_delta), 0) AS bigint) FROM movement \
                     WHERE order_id IS NOT NULL",
                )
                .await?,
            rules,
        })
    }

    /// Looks for levels that cannot be, in one look at them and at the holds: for a running server.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find_level_faults(&self) -> Result<LevelFaults, StorageError> {
        let text = format!("SELECT ({NEGATIVE}), ({RESERVED_WITHOUT_HOLD})");
        let text = in_full(&text, self.backend());
        let statement = Statement::from_string(self.backend(), text);
        let read = async {
            let row = self.readers().query_one_raw(statement).await?;
            let row = row.ok_or_else(|| StorageError::corrupt("count(*) gave no row"))?;
            Ok(LevelFaults {
                negative: row.try_get_by_index(0)?,
                reserved_without_hold: row.try_get_by_index(1)?,
            })
        };
        self.readers.bounded(read).await
    }

    async fn count(&self, sql: &str) -> Result<i64, StorageError> {
        let statement = Statement::from_string(self.backend(), sql);
        let row = self.readers().query_one_raw(statement).await?;
        let row = row.ok_or_else(|| StorageError::corrupt("count(*) gave no row"))?;
        Ok(row.try_get_by_index(0)?)
    }
}
