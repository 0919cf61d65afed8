//! What the rules of the books say in each store's own SQL.

use sea_orm::DbBackend;

/// A rule's SQL with what each store says in its own way.
pub(super) fn in_full(sql: &str, backend: DbBackend) -> String {
    let parts = match backend {
        DbBackend::Postgres => [
            ("{moved}", MOVED_POSTGRES),
            ("{lines}", LINES_POSTGRES),
            ("{labels}", LABELS_POSTGRES),
            ("{filed}", FILED_POSTGRES),
            ("{held}", HELD_POSTGRES),
            ("{due}", DUE_POSTGRES),
        ],
        _ => [
            // First: it has the lines in it.
            ("{moved}", MOVED_SQLITE),
            ("{lines}", LINES_SQLITE),
            ("{labels}", LABELS_SQLITE),
            ("{filed}", FILED_SQLITE),
            ("{held}", HELD_SQLITE),
            ("{due}", DUE_SQLITE),
        ],
    };
    let put_in = |sql: String, (name, part): (&str, &str)| sql.replace(name, part);
    parts.into_iter().fold(sql.to_owned(), put_in)
}

const LINES_POSTGRES: &str = "\
SELECT o.order_id, line.* FROM orders AS o,
json_to_recordset(o.lines) AS line (sku text, location text, quantity bigint, version bigint,
                                backordered bigint)";

const LINES_SQLITE: &str = "\
SELECT o.order_id, line.value ->> 'sku' AS sku, line.value ->> 'location' AS location,
       line.value ->> 'quantity' AS quantity, line.value ->> 'version' AS version,
       line.value ->> 'backordered' AS backordered
FROM orders AS o, json_each(o.lines) AS line";

/// A version beyond the levels of its order has no level. The levels are put in order once an
/// order: OFFSET 0 keeps that from being done for each version.
const MOVED_POSTGRES: &str = "\
SELECT o.order_id, o.skus[v.place] AS sku, o.locations[v.place] AS location, v.version::bigint AS version
FROM (
    SELECT orders.order_id, orders.moved, l.skus, l.locations FROM orders
    CROSS JOIN LATERAL (
        SELECT array_agg(sku ORDER BY sku, location) AS skus, array_agg(location ORDER BY sku, location) AS locations
        FROM (SELECT DISTINCT sku, location
              FROM json_to_recordset(orders.lines) AS line (sku text COLLATE \"C\", location text COLLATE \"C\")) AS levels
    ) AS l
    WHERE orders.moved IS NOT NULL OFFSET 0
) AS o
CROSS JOIN LATERAL json_array_elements(o.moved) AS change (versions)
CROSS JOIN LATERAL json_array_elements_text(change.versions) WITH ORDINALITY AS v (version, place)";

const MOVED_SQLITE: &str = "\
SELECT o.order_id, level.sku, level.location, moved.value AS version
FROM orders AS o
CROSS JOIN json_each(o.moved) AS change
CROSS JOIN json_each(change.value) AS moved
LEFT JOIN (
    SELECT order_id, sku, location, row_number() OVER (PARTITION BY order_id ORDER BY sku, location) - 1 AS place
    FROM (SELECT DISTINCT order_id, sku, location FROM ({lines}) AS line)
) AS level ON level.order_id = o.order_id AND level.place = moved.key";

const LABELS_POSTGRES: &str = "\
SELECT o.order_id, l.key COLLATE \"C\" AS key, l.value COLLATE \"C\" AS value
FROM orders AS o, jsonb_each_text(o.labels) AS l";

const LABELS_SQLITE: &str =
    "SELECT o.order_id, l.key, l.value FROM orders AS o, json_each(o.labels) AS l";

/// Each movement with the time that it is filed under.
const FILED_POSTGRES: &str = "\
SELECT t.time_us, r.sku, r.location, v AS version FROM movement_time AS t
CROSS JOIN LATERAL unnest(t.skus, t.locations, t.after_versions, t.last_versions)
    AS r (sku, location, after, last)
CROSS JOIN LATERAL generate_series(r.after + 1, r.last) AS v";

const FILED_SQLITE: &str = "\
SELECT t.time_us, m.sku, m.location, m.version FROM movement_time AS t
CROSS JOIN movement AS m
ON m.sku = t.sku AND m.location = t.location AND m.version > t.after_version AND m.version <= t.version";

/// The lines of pending orders, which all have a deadline: no need to look at every order.
const HELD_POSTGRES: &str = "\
SELECT line.* FROM (SELECT DISTINCT unnest(order_ids) AS order_id FROM hold_deadline) AS d
JOIN orders AS o ON o.order_id = d.order_id
CROSS JOIN LATERAL json_to_recordset(o.lines) AS line (sku text, location text, quantity bigint)
WHERE o.state = 2";

const HELD_SQLITE: &str = "\
SELECT line.value ->> 'sku' AS sku, line.value ->> 'location' AS location, line.value ->> 'quantity' AS quantity
FROM (SELECT DISTINCT held.value AS id FROM hold_deadline AS d, json_each(d.order_ids) AS held) AS d
CROSS JOIN orders AS o ON o.order_id = unhex(d.id)
CROSS JOIN json_each(o.lines) AS line
WHERE o.state = 2";

/// The levels of pending orders by which a deadline that is as late as theirs finds them.
const DUE_POSTGRES: &str = "\
SELECT o.order_id, line.* FROM hold_deadline AS d
CROSS JOIN LATERAL unnest(d.order_ids) AS held (order_id)
JOIN orders AS o ON o.order_id = held.order_id
CROSS JOIN LATERAL json_to_recordset(o.lines) AS line (sku text, location text)
WHERE o.state = 2 AND o.expires_us BETWEEN d.first_us AND d.last_us
  AND line.sku || '@' || line.location = ANY (d.levels)";

const DUE_SQLITE: &str = "\
SELECT o.order_id, line.value ->> 'sku' AS sku, line.value ->> 'location' AS location FROM hold_deadline AS d
CROSS JOIN json_each(d.order_ids) AS held
CROSS JOIN orders AS o ON o.order_id = unhex(held.value)
CROSS JOIN json_each(o.lines) AS line
WHERE o.state = 2 AND o.expires_us BETWEEN d.first_us AND d.last_us
  AND EXISTS (SELECT 1 FROM json_each(d.levels) AS level
              WHERE level.value = (line.value ->> 'sku') || '@' || (line.value ->> 'location'))";
