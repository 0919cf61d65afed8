//! Lists of levels, in pages and in pieces.
//!
//! A list walks one index: by (sku, location), or where it is of one place by (location,
//! sku). What does not fit is passed over on the way. Promises that a statement looks at a
//! bounded number of levels however few of them fit, and that pages which follow each other
//! list every level that was there when the first one was read, once.

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use super::stock::{after_prefix, listed_level};
use super::{StorageError, Store};
use crate::domain::{LevelKey, LoadedLevel, Location, StockLevel};

/// By position and not by name: a watch that begins reads thousands of rows.
const COLUMNS: &str = "sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, backorder_limit, deleted";

/// [`StockLevel::low_stock`], in SQL.
const IS_LOW: &str = "low_stock_threshold > 0 AND on_hand - reserved <= low_stock_threshold";

/// Levels that a statement looks at where some of them may not fit: a millisecond or two.
const PIECE_LEVELS: usize = 1_000;

/// Levels that do not fit after which a page ends, however short it is: with the piece that
/// reaches it a page passes over 3,000 at most, a fraction of the time that a read has.
const PASSED_OVER_MAX: usize = 2_000;

/// One page of levels in ascending (sku, location).
#[derive(Debug, Default)]
pub struct StockPage {
    /// The levels; there may be none although there is a next page.
    pub levels: Vec<StockLevel>,
    /// After which level the next page begins; none when this is the last.
    pub next: Option<LevelKey>,
}

/// What lies in a piece of the list of levels.
#[derive(Debug)]
pub struct LevelPiece {
    /// The levels that fit.
    pub levels: Vec<LoadedLevel>,
    /// How many were looked at for it.
    pub looked_at: usize,
    /// After which level the list goes on; none where it has ended.
    pub next: Option<LevelKey>,
}

/// Which levels to list; the default is all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct LevelFilter<'a> {
    /// The beginning of their SKUs; an empty one fits all.
    pub sku_prefix: &'a str,
    /// Where they are; none fits all.
    pub location: Option<&'a Location>,
    /// Whether only those that are low.
    pub low_only: bool,
}

impl Store {
    /// Reads the page of at most `limit` levels after `after` that fit the filter. It is
    /// shorter, and not the last, where thousands lie between them that do not fit.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list_levels(
        &self,
        after: Option<&LevelKey>,
        filter: &LevelFilter<'_>,
        limit: usize,
    ) -> Result<StockPage, StorageError> {
        let read = async { list_levels(&self.readers(), after, filter, limit).await };
        self.readers.bounded(read).await
    }

    /// Looks at the `limit` levels after `after` and reads those that fit the filter, among
    /// them what is left of products that were deleted, whose SKUs are not known. For
    /// whoever knows a level and has to learn of its end; to anybody else it is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn look_at_levels(
        &self,
        after: Option<&LevelKey>,
        filter: &LevelFilter<'_>,
        limit: usize,
    ) -> Result<LevelPiece, StorageError> {
        let read = async { read_piece(&self.readers(), after, filter, limit).await };
        self.readers.bounded(read).await
    }
}

pub(super) async fn list_levels(
    connection: &impl ConnectionTrait,
    after: Option<&LevelKey>,
    filter: &LevelFilter<'_>,
    limit: usize,
) -> Result<StockPage, StorageError> {
    let mut page = StockPage::default();
    let (mut passed_over, mut after) = (0, after.cloned());
    loop {
        let look_at = if filter.low_only || passed_over > 0 {
            PIECE_LEVELS
        } else {
            // Nearly all fit. One more than the page has says whether there is another page.
            limit + 1
        };
        let piece = read_piece(connection, after.as_ref(), filter, look_at).await?;
        passed_over += piece.looked_at;
        // What is left of products that were deleted is found by its name alone.
        for loaded in piece.levels.into_iter().filter(|it| it.sku_known) {
            if page.levels.len() == limit {
                page.next = page.levels.last().map(|last| last.key.clone());
                return Ok(page);
            }
            passed_over -= 1;
            page.levels.push(loaded.level);
        }
        after = piece.next;
        if after.is_none() || passed_over >= PASSED_OVER_MAX {
            page.next = after;
            return Ok(page);
        }
    }
}

async fn read_piece(
    connection: &impl ConnectionTrait,
    after: Option<&LevelKey>,
    filter: &LevelFilter<'_>,
    limit: usize,
) -> Result<LevelPiece, StorageError> {
    let backend = connection.get_database_backend();
    let statement = piece_statement(backend, after, filter, limit);
    let rows = connection.query_all_raw(statement).await?;
    let looked_at = match rows.last() {
        Some(last) if filter.low_only => {
            let place: i64 = last.try_get_by_index(9)?;
            usize::try_from(place).map_err(|_| StorageError::corrupt("a place below 0"))?
        }
        _ => rows.len(),
    };
    let levels = rows.iter().map(listed_or_deleted);
    let mut levels = levels.collect::<Result<Vec<_>, _>>()?;
    let last = levels.last().filter(|_| looked_at >= limit);
    let next = last.map(|last| last.level.key.clone());
    levels.retain(|it| !filter.low_only || it.level.low_stock());
    Ok(LevelPiece {
        levels,
        looked_at,
        next,
    })
}

/// Looks at `limit` levels. Those that are not low stay in the database where only low ones
/// are asked for; but the last one comes in any case, with its place: it says how far this
/// has come.
fn piece_statement(
    backend: DbBackend,
    after: Option<&LevelKey>,
    filter: &LevelFilter<'_>,
    limit: usize,
) -> Statement {
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let (mut range, mut order) = (Vec::new(), "sku, location");
    if let Some(location) = filter.location {
        // The order that the index by location alone has: given SKUs of one location,
        // PostgreSQL might rather walk over those of all.
        order = "location, sku";
        let sku = after.map_or("", |after| after.sku.as_str());
        let (location, sku) = (bind(location.as_str().into()), bind(sku.into()));
        range.push(format!(
            "(location, sku) > ({location}, {sku}) AND location <= {location}"
        ));
    } else if let Some(after) = after {
        let (sku, location) = (after.sku.as_str(), after.location.as_str());
        let (sku, location) = (bind(sku.into()), bind(location.into()));
        range.push(format!("(sku, location) > ({sku}, {location})"));
    }
    if let Some(end) = after_prefix(filter.sku_prefix) {
        // One beginning: of two a database may take the earlier, and pass over all between.
        if after.is_none_or(|after| after.sku.as_str() < filter.sku_prefix) {
            let begin = bind(filter.sku_prefix.into());
            range.push(format!("sku >= {begin}"));
        }
        let end = bind(end.into());
        range.push(format!("sku < {end}"));
    }
    let range = match &range[..] {
        [] => String::new(),
        range => format!("WHERE {} ", range.join(" AND ")),
    };
    let limit = bind((limit as i64).into());
    let piece = format!("SELECT {COLUMNS} FROM stock_level {range}ORDER BY {order} LIMIT {limit}");
    let sql = if filter.low_only {
        format!(
            "SELECT {COLUMNS}, place FROM (\
             SELECT {COLUMNS}, row_number() OVER walk AS place, lead(sku) OVER walk IS NULL AS is_last \
             FROM ({piece}) AS piece WINDOW walk AS (ORDER BY {order})) AS looked_at \
             WHERE is_last OR ({IS_LOW}) ORDER BY {order}"
        )
    } else {
        piece
    };
    Statement::from_sql_and_values(backend, sql, values)
}

fn listed_or_deleted(row: &QueryResult) -> Result<LoadedLevel, StorageError> {
    let deleted: bool = row.try_get_by_index(8)?;
    Ok(LoadedLevel {
        level: listed_level(row)?,
        sku_known: !deleted,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::Access;
    use super::*;
    use crate::samples::{config_in, key};

    async fn store_in(folder: &TempDir) -> Store {
        let config = config_in(folder);
        let store = Store::open(&config.store, Access::Write).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    fn skus<'a>(levels: impl IntoIterator<Item = &'a StockLevel>) -> Vec<&'a str> {
        levels.into_iter().map(|it| it.key.sku.as_str()).collect()
    }

    #[tokio::test]
    async fn a_piece_says_how_many_levels_were_looked_at_and_where_the_list_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder).await;
        // Low are b, c and f; c and e are what is left of deleted products.
        let sql = "INSERT INTO stock_level (sku, location, on_hand, reserved, version, low_stock_threshold, updated_us, deleted) \
             VALUES ('a', 'main', 9, 0, 1, 5, 0, 0), ('b', 'main', 2, 0, 1, 5, 0, 0), ('c', 'main', 0, 0, 1, 5, 0, 1), \
                    ('d', 'main', 9, 0, 1, 5, 0, 0), ('e', 'main', 0, 0, 1, 0, 0, 1), ('f', 'main', 5, 0, 1, 5, 0, 0)";
        store.writer().execute_unprepared(sql).await.unwrap();
        let all = LevelFilter::default();
        let low = LevelFilter {
            low_only: true,
            ..all
        };
        for (filter, after, limit, found, looked_at, next) in [
            (low, None, 4, &["b", "c"][..], 4, Some("d")),
            (low, Some("d"), 4, &["f"], 2, None),
            (low, None, 6, &["b", "c", "f"], 6, Some("f")),
            (low, Some("f"), 4, &[], 0, None),
            (all, Some("c"), 2, &["d", "e"], 2, Some("e")),
            (all, Some("e"), 2, &["f"], 1, None),
        ] {
            let after = after.map(key);
            let piece = store.look_at_levels(after.as_ref(), &filter, limit).await;
            let piece = piece.unwrap();
            let levels = piece.levels.iter().map(|it| &it.level);
            assert_eq!(skus(levels), found, "{filter:?} {after:?}");
            assert_eq!((piece.looked_at, piece.next), (looked_at, next.map(key)));
        }
        for (filter, after, limit, found, next) in [
            (all, None, 2, &["a", "b"][..], Some("b")),
            (all, Some("b"), 2, &["d", "f"], None),
            (low, None, 1, &["b"], Some("b")),
            (low, Some("b"), 1, &["f"], None),
        ] {
            let after = after.map(key);
            let page = store.list_levels(after.as_ref(), &filter, limit).await;
            let page = page.unwrap();
            assert_eq!(skus(&page.levels), found, "{filter:?} {after:?}");
            assert_eq!(page.next, next.map(key));
        }
        store.close().await;
    }

    /// PostgreSQL's plans are in tests/it/plans.rs.
    #[tokio::test]
    async fn sqlite_takes_levels_in_their_order_from_the_index_that_leads() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(&folder).await;
        let attic = Location::new("attic").unwrap();
        let all = LevelFilter::default();
        let of_prefix = LevelFilter {
            sku_prefix: "a",
            ..all
        };
        let there = LevelFilter {
            location: Some(&attic),
            ..all
        };
        let low = LevelFilter {
            low_only: true,
            ..all
        };
        for (filter, leads) in [
            (all, "stock_level USING PRIMARY KEY ((sku,location)>(?,?))"),
            (low, "stock_level USING PRIMARY KEY ((sku,location)>(?,?))"),
            (
                of_prefix,
                "stock_level USING PRIMARY KEY ((sku,location)>(?,?) AND sku<?)",
            ),
            (
                there,
                "stock_level USING INDEX stock_level_location ((location,sku)>(?,?) AND location<?)",
            ),
        ] {
            let mut statement = piece_statement(DbBackend::Sqlite, Some(&key("a")), &filter, 9);
            statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
            let rows = store.readers().query_all_raw(statement).await.unwrap();
            let steps = rows.iter().map(|row| row.try_get("", "detail").unwrap());
            let plan = steps.collect::<Vec<String>>().join("\n");
            assert!(
                plan.contains(&format!("SEARCH {leads}")),
                "{filter:?}: {plan}"
            );
            // What was looked at for low levels is a piece: that may be sorted.
            let sorts = plan.contains("TEMP B-TREE") && !filter.low_only;
            assert!(!sorts, "{filter:?}: {plan}");
        }
        store.close().await;
    }
}
