//! The statements of a list of orders: each a walk backwards through one index.
//!
//! Which index leads is decided here and left to no planner: every statement can take
//! its rows in the order that it asks for from one index alone.

use sea_orm::{DbBackend, QueryResult, Statement, Value};
use uuid::Uuid;

use super::super::{OrderParts, StorageError};
use super::{EXAMINED_MAX, OrderFilter, OrderPlace};
use crate::domain::{LevelKey, MovementKind, OrderId, Timestamp, Version};

/// The smallest id that an order can have which was made at this time or later: a UUID
/// version 7 begins with 48 bits of milliseconds.
pub(super) fn first_id_at(time: Timestamp) -> Uuid {
    // Nothing was made before 1970. Times end with the year 9999, which 48 bits hold.
    let us = time.us().max(0);
    let ms = us / 1_000 + i64::from(us % 1_000 > 0);
    Uuid::from_u128((ms as u128) << 80)
}

/// A piece of a list, from the first to before the second.
pub(super) enum Piece {
    /// Of the movements of a level.
    OfLevel(LevelKey, Version, Version),
    /// Of orders by id.
    OfIds(Uuid, Uuid),
}

impl Piece {
    pub(super) fn place(&self, row: &QueryResult) -> Result<OrderPlace, StorageError> {
        Ok(match self {
            Self::OfLevel(..) => OrderPlace::Version(Version::new(row.try_get_by_index(0)?)),
            Self::OfIds(..) => OrderPlace::Id(OrderId(row.try_get_by_index(0)?)),
        })
    }
}

/// Values to bind, in the order of their numbers.
#[derive(Default, Clone)]
struct Bound(Vec<Value>);

impl Bound {
    /// Binds a value and returns how a statement names it.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }
}

/// The piece of an index that a walk goes over.
struct Leading {
    /// What has the index: `orders AS o`, or another table `AS w`.
    table: &'static str,
    /// The column of the place.
    place: &'static str,
    /// Which rows of the index: those of the piece.
    range: String,
    /// Its order.
    order: &'static str,
    /// The values of the range.
    bound: Bound,
}

/// A walk backwards through one index, over a piece of a list.
pub(super) struct Walk {
    backend: DbBackend,
    leading: Leading,
    /// What else the orders must fit …
    conditions: Vec<String>,
    /// … and values of the range and of the conditions.
    all_bound: Bound,
}

impl Leading {
    fn of(backend: DbBackend, piece: &Piece, filter: &OrderFilter) -> Self {
        let (from, before) = match piece {
            Piece::OfLevel(key, from, before) => return Self::over_level(key, *from, *before),
            Piece::OfIds(from, before) => (*from, *before),
        };
        match (
            filter.customer_ref.as_str(),
            filter.labels.first_key_value(),
        ) {
            ("", None) => Self::over_ids(from, before),
            ("", Some(label)) => Self::over_label(label, from, before),
            (customer, _) => Self::over_customer(backend, customer, from, before),
        }
    }

    fn over_level(key: &LevelKey, from: Version, before: Version) -> Self {
        let mut bound = Bound::default();
        let sku = bound.bind(key.sku.as_str());
        let location = bound.bind(key.location.as_str());
        let from = bound.bind(from.number());
        let before = bound.bind(before.number());
        let ordered = bound.bind(MovementKind::Ordered as i32);
        let reserved = bound.bind(MovementKind::Reserved as i32);
        Self {
            table: "movement AS w",
            place: "w.version",
            range: format!(
                "w.sku = {sku} AND w.location = {location} \
                 AND w.version >= {from} AND w.version < {before} AND w.kind IN ({ordered}, {reserved})"
            ),
            order: "w.version DESC",
            bound,
        }
    }

    fn over_ids(from: Uuid, before: Uuid) -> Self {
        let mut bound = Bound::default();
        let (from, before) = (bound.bind(from), bound.bind(before));
        Self {
            table: "orders AS o",
            place: "o.order_id",
            range: format!("o.order_id >= {from} AND o.order_id < {before}"),
            order: "o.order_id DESC",
            bound,
        }
    }

    fn over_label((key, value): (&String, &String), from: Uuid, before: Uuid) -> Self {
        let mut bound = Bound::default();
        let (key, value) = (bound.bind(key.as_str()), bound.bind(value.as_str()));
        let (from, before) = (bound.bind(from), bound.bind(before));
        Self {
            table: "order_label AS w",
            place: "w.order_id",
            range: format!(
                "w.key = {key} AND w.value = {value} \
                 AND w.order_id >= {from} AND w.order_id < {before}"
            ),
            order: "w.order_id DESC",
            bound,
        }
    }

    /// In the order that the customers' index alone has: given plain ids, PostgreSQL would
    /// rather walk over all orders until it has met enough of the customer's.
    fn over_customer(backend: DbBackend, customer: &str, from: Uuid, before: Uuid) -> Self {
        let mut bound = Bound::default();
        let customer = bound.bind(customer);
        let (from, before) = (bound.bind(from), bound.bind(before));
        let (range, order) = match backend {
            DbBackend::Postgres => (
                format!(
                    "o.customer_ref IS NOT NULL AND o.customer_ref COLLATE \"C\" = {customer} \
                     AND uuid_send(o.order_id) >= uuid_send({from}) \
                     AND uuid_send(o.order_id) < uuid_send({before})"
                ),
                "uuid_send(o.order_id) DESC",
            ),
            _ => (
                format!(
                    "o.customer_ref IS NOT NULL \
                     AND (o.customer_ref, o.order_id) >= ({customer}, {from}) \
                     AND (o.customer_ref, o.order_id) < ({customer}, {before})"
                ),
                "o.customer_ref DESC, o.order_id DESC",
            ),
        };
        Self {
            table: "orders AS o",
            place: "o.order_id",
            range,
            order,
            bound,
        }
    }
}

impl Walk {
    pub(super) fn new(backend: DbBackend, piece: &Piece, filter: &OrderFilter) -> Self {
        let leading = Leading::of(backend, piece, filter);
        let mut walk = Self {
            backend,
            all_bound: leading.bound.clone(),
            leading,
            conditions: Vec::new(),
        };
        walk.add_conditions(filter);
        walk
    }

    /// Adds what the walk itself does not see to.
    fn add_conditions(&mut self, filter: &OrderFilter) {
        let (bound, conditions) = (&mut self.all_bound, &mut self.conditions);
        if let Some(state) = filter.state {
            let state = bound.bind(state as i32);
            conditions.push(format!("o.state = {state}"));
        }
        let by_level = filter.level.is_some();
        if by_level && !filter.customer_ref.is_empty() {
            let customer = bound.bind(filter.customer_ref.as_str());
            conditions.push(format!("o.customer_ref = {customer}"));
        }
        for (time, compare) in [(filter.from, ">="), (filter.until, "<")] {
            if let Some(time) = time.filter(|_| by_level) {
                let id = bound.bind(first_id_at(time));
                conditions.push(format!("o.order_id {compare} {id}"));
            }
        }
        let seen_to = usize::from(!by_level && filter.customer_ref.is_empty());
        if filter.labels.len() > seen_to {
            let labels = serde_json::to_string(&filter.labels);
            let labels = bound.bind(labels.expect("a map of texts always has a JSON form"));
            conditions.push(match self.backend {
                DbBackend::Postgres => format!("o.labels @> {labels}::jsonb"),
                _ => format!(
                    "NOT EXISTS (SELECT 1 FROM json_each({labels}) AS wanted WHERE NOT EXISTS \
                     (SELECT 1 FROM json_each(o.labels) AS l \
                      WHERE l.key = wanted.key AND l.value = wanted.value))"
                ),
            });
        }
    }

    /// Whether there can be orders on the walk that do not fit.
    pub(super) fn passes_over_some(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// The first orders on the walk that fit, each after its place.
    pub(super) fn orders(&self, parts: OrderParts, limit: usize) -> Statement {
        let mut bound = self.all_bound.clone();
        let limit = bound.bind(limit as i64);
        let Leading {
            table,
            place,
            range,
            order,
            ..
        } = &self.leading;
        let orders = if table.ends_with(" AS w") {
            " JOIN orders AS o ON o.order_id = w.order_id"
        } else {
            ""
        };
        let columns = parts.columns(self.backend);
        let conditions = self.conditions.iter().map(|it| format!(" AND {it}"));
        let conditions: String = conditions.collect();
        let sql = format!(
            "SELECT {place} AS place, {columns} FROM {table}{orders} \
             WHERE {range}{conditions} ORDER BY {order} LIMIT {limit}"
        );
        Statement::from_sql_and_values(self.backend, sql, bound.0)
    }

    /// The place of the last order that may be looked at; none when the walk is shorter.
    pub(super) fn last_to_look_at(&self) -> Statement {
        let Leading {
            table,
            place,
            range,
            order,
            ..
        } = &self.leading;
        let offset = EXAMINED_MAX - 1;
        let sql = format!(
            "SELECT {place} FROM {table} WHERE {range} ORDER BY {order} LIMIT 1 OFFSET {offset}"
        );
        Statement::from_sql_and_values(self.backend, sql, self.leading.bound.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::super::super::{Access, Store};
    use super::*;
    use crate::samples::{config_in, key};

    fn walk(customer: &str, labels: &[&str], piece: &Piece) -> Walk {
        let level = match piece {
            Piece::OfLevel(key, ..) => Some(key.clone()),
            Piece::OfIds(..) => None,
        };
        let labels = labels.iter().map(|key| ((*key).to_owned(), "v".to_owned()));
        let filter = OrderFilter {
            customer_ref: customer.to_owned(),
            labels: labels.collect(),
            level,
            ..OrderFilter::default()
        };
        Walk::new(DbBackend::Sqlite, piece, &filter)
    }

    async fn plan(store: &Store, mut statement: Statement) -> String {
        statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
        let rows = store.readers().query_all_raw(statement).await.unwrap();
        let steps = rows.iter().map(|row| row.try_get("", "detail").unwrap());
        steps.collect::<Vec<String>>().join("\n")
    }

    /// PostgreSQL's plans are in tests/it/plans.rs.
    #[tokio::test]
    async fn sqlite_takes_rows_in_their_order_from_the_index_that_leads() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder);
        let store = Store::open(&config.store, Access::Write).await.unwrap();
        store.migrate().await.unwrap();
        let of_level = Piece::OfLevel(key("a"), Version::new(1), Version::new(9));
        let of_ids = Piece::OfIds(Uuid::nil(), Uuid::max());
        for (customer, labels, piece, leads) in [
            (
                "",
                &[][..],
                &of_ids,
                "SEARCH o USING PRIMARY KEY (order_id>? AND order_id<?)",
            ),
            (
                "c",
                &[],
                &of_ids,
                "SEARCH o USING INDEX orders_customer_ref",
            ),
            (
                "c",
                &["k"],
                &of_ids,
                "SEARCH o USING INDEX orders_customer_ref",
            ),
            (
                "",
                &["k"],
                &of_ids,
                "SEARCH w USING PRIMARY KEY (key=? AND value=? AND order_id>? AND order_id<?)",
            ),
            (
                "",
                &["k", "l"],
                &of_ids,
                "SEARCH w USING PRIMARY KEY (key=?",
            ),
            (
                "c",
                &["k"],
                &of_level,
                "SEARCH w USING PRIMARY KEY (sku=? AND location=? AND version>? AND version<?)",
            ),
        ] {
            let walk = walk(customer, labels, piece);
            let of = |lines, labels| walk.orders(OrderParts { lines, labels }, 9);
            for statement in [of(true, true), of(false, false), walk.last_to_look_at()] {
                let plan = plan(&store, statement).await;
                let begins = plan.starts_with(leads)
                    || plan.starts_with(&leads.replace("USING INDEX", "USING COVERING INDEX"));
                let sorts = plan.contains("TEMP B-TREE") || plan.contains("SCAN o");
                assert!(begins && !sorts, "{customer:?} {labels:?}: {plan}");
            }
        }
        store.close().await;
    }

    #[test]
    fn an_id_made_at_a_time_is_not_below_the_first_of_that_time() {
        let made = Uuid::from_u128(0x0000_0000_0005_7abc_8def_0000_0000_0000);
        for (us, is_in) in [(4_000, true), (4_001, true), (5_000, true), (5_001, false)] {
            let first = first_id_at(Timestamp::from_us(us));
            assert_eq!(made >= first, is_in, "{us}");
        }
        assert_eq!(first_id_at(Timestamp::from_us(-7)), Uuid::nil());
    }
}
