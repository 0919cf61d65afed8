//! A store as many orders leave it: made by SQL, since that is faster than ordering.
//!
//! The books balance. Orders have random request ids, as callers' have; one in ten is of
//! one product, `load-00000`, and the rest are of all others. Five hundred share a commit.

use crate::support::run::Run;
use crate::support::stores::sql;

/// Products that have been ordered, those of `stockroom load`.
pub(crate) const SKUS: usize = 1_000;

/// Orders of one statement.
const CHUNK: u64 = 250_000;

/// Whatever the first order is of, before all others in time: 2023-11-14.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// `i` is the order, from 0; `{from}` and `{until}` bound it. Every tenth is of product 0,
/// the others of the rest in turn.
const ORDERS: &str = "\
CREATE TEMP TABLE made AS
SELECT i, 'load-' || lpad(s::text, 5, '0') AS sku, v AS version, ms,
       (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(i % 500), 3, '0') || '8' || lpad(to_hex(i), 15, '0'))::uuid
           AS order_id
FROM (
    SELECT i, {begin} + i / 500 * 50 AS ms,
           CASE WHEN i % 10 = 0 THEN 0 ELSE 1 + (i / 10 * 9 + i % 10 - 1) % 999 END AS s,
           CASE WHEN i % 10 = 0 THEN 2 + i / 10 ELSE 2 + (i / 10 * 9 + i % 10 - 1) / 999 END AS v
    FROM generate_series({from}::bigint, {until}::bigint - 1) AS i
) AS planned;
INSERT INTO request (request_id, fingerprint, order_id)
SELECT md5(i::text), sha256(i::text::bytea), order_id FROM made ORDER BY md5(i::text);
INSERT INTO orders (order_id, request_id, state, lines, customer_ref, labels, created_us, updated_us, version)
SELECT order_id, md5(i::text), 1,
       json_build_array(json_build_object('sku', sku, 'location', 'main', 'quantity', 1, 'version', version)),
       CASE WHEN i % 1000000 = 13 THEN 'rare' WHEN i % 10 = 3 THEN 'often' END,
       CASE WHEN i % 1000000 = 24 THEN '{\"campaign\": \"rare\"}'::jsonb
            WHEN i % 4 = 1 THEN '{\"channel\": \"web\"}'::jsonb END,
       ms * 1000, ms * 1000, 1
FROM made ORDER BY i;
INSERT INTO order_label (key, value, order_id)
SELECT l.key, l.value, o.order_id
FROM made AS m JOIN orders AS o ON o.order_id = m.order_id CROSS JOIN LATERAL jsonb_each_text(o.labels) AS l;
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us, order_id)
SELECT sku, 'main', version, 6, -1, 0, 1000000000 - (version - 1), 0, ms * 1000, order_id
FROM made ORDER BY i / 500, sku, version;
INSERT INTO movement_time
SELECT ms * 1000, (array_agg(sku))[count(*)], 'main', (array_agg(last))[count(*)], array_agg(sku),
       array_agg('main'::text), array_agg(after), array_agg(last)
FROM (SELECT ms, sku, min(version) - 1 AS after, max(version) AS last
      FROM made GROUP BY ms, sku ORDER BY ms, sku COLLATE \"C\") AS moved
GROUP BY ms";

const LEVELS: &str = "\
UPDATE stock_level AS l SET version = m.version, on_hand = 1000000000 - (m.version - 1), updated_us = m.time_us
FROM (SELECT sku, max(version) AS version, max(time_us) AS time_us FROM movement GROUP BY sku) AS m
WHERE l.sku = m.sku AND l.location = 'main' AND m.version > l.version";

/// The time of an order.
pub(crate) fn time_of(order: u64) -> prost_types::Timestamp {
    let ms = (BEGIN_MS + order / 500 * 50) as i64;
    prost_types::Timestamp {
        seconds: ms / 1_000,
        nanos: (ms % 1_000) as i32 * 1_000_000,
    }
}

/// Makes so many orders in a database that has stock of [`SKUS`] products.
///
/// # Errors
/// The database failed, or the run is to end.
pub(crate) fn fill(url: &str, orders: u64, run: &Run) -> anyhow::Result<()> {
    let mut from = 0;
    while from < orders {
        run.check()?;
        let until = orders.min(from + CHUNK);
        let text = ORDERS
            .replace("{begin}", &BEGIN_MS.to_string())
            .replace("{from}", &from.to_string())
            .replace("{until}", &until.to_string());
        sql(url, &text)?;
        from = until;
        eprintln!("{from} of {orders} orders are made");
    }
    sql(url, LEVELS)?;
    sql(url, "VACUUM (ANALYZE)")?;
    sql(url, "CHECKPOINT").map(drop)
}
