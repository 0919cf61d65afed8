//! What a commit writes beyond its batch: the further movements of requests that made
//! several, and the halves of transfers, which name each other.
//!
//! Such requests are rare, so they take statements of their own, in the transaction of
//! their batch and after it, and the batch of orders stays as small as it is.

use sea_orm::sqlx::{PgConnection, SqliteConnection, query};

use super::super::error::StorageError;
use super::postgres::{column, given};
use super::sqlite::{Parameters, movement_row, store};
use crate::domain::{Counterpart, LevelKey, Movement, RequestId, Version, Writes};

const FURTHER_POSTGRES: &str = "\
INSERT INTO request_movement (request_id, place, sku, location, version)
SELECT unnest($1::text[]), unnest($2::integer[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bigint[])";

const FURTHER_SQLITE: &str = "\
INSERT INTO request_movement (request_id, place, sku, location, version)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

/// A transfer moves nothing that is reserved.
const HALVES_POSTGRES: &str = "\
INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      time_us, request_id, note, counterpart_location, counterpart_version)
SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::smallint[]),
       unnest($5::bigint[]), 0, unnest($6::bigint[]), unnest($7::bigint[]),
       $8, unnest($9::text[]), unnest($10::text[]), unnest($11::text[]), unnest($12::bigint[])";

/// `commit_batch` files under the batch's time the levels that it is told of, and all of
/// their versions. What it was told nothing of is filed here.
const FILE_HALVES_POSTGRES: &str = "\
INSERT INTO movement_time
SELECT $1, h.sku, h.location, h.version, ARRAY[h.sku], ARRAY[h.location], ARRAY[h.version - 1], ARRAY[h.version]
FROM unnest($2::text[], $3::text[], $4::bigint[]) AS h (sku, location, version)
WHERE NOT EXISTS (
    SELECT FROM movement_time AS t
    CROSS JOIN LATERAL unnest(t.skus, t.locations, t.after_versions, t.last_versions)
        AS r (sku, location, after, last)
    WHERE t.time_us = $1 AND r.sku = h.sku AND r.location = h.location
      AND h.version > r.after AND h.version <= r.last)";

const HALVES_SQLITE: &str = "\
INSERT INTO movement (time_us, sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
                      order_id, request_id, note, counterpart_location, counterpart_version)
SELECT ?, * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

/// A movement of a request that made several.
struct Further<'a> {
    request_id: &'a RequestId,
    place: i32,
    key: &'a LevelKey,
    version: Version,
}

/// All but the first of each request.
fn further(writes: &Writes) -> Vec<Further<'_>> {
    let requests = writes.requests.iter();
    let each = requests.flat_map(|request| {
        let movements = (0..).zip(&request.movements).skip(1);
        movements.map(|(place, (key, version))| Further {
            request_id: &request.request_id,
            place,
            key,
            version: *version,
        })
    });
    each.collect()
}

/// The halves of transfers.
fn halves(writes: &Writes) -> Vec<(&Movement, &Counterpart)> {
    let halves = writes.movements.iter();
    halves
        .filter_map(|movement| Some((&**movement, movement.counterpart.as_ref()?)))
        .collect()
}

pub(super) async fn write_postgres(
    connection: &mut PgConnection,
    writes: &Writes,
) -> Result<(), StorageError> {
    let rows = further(writes);
    let statement = query(FURTHER_POSTGRES)
        .bind(column(&rows, |r| r.request_id.as_str()))
        .bind(column(&rows, |r| r.place))
        .bind(column(&rows, |r| r.key.sku.as_str()))
        .bind(column(&rows, |r| r.key.location.as_str()))
        .bind(column(&rows, |r| r.version.number()));
    statement.execute(&mut *connection).await?;
    let rows = halves(writes);
    if rows.is_empty() {
        return Ok(());
    }
    let statement = query(HALVES_POSTGRES)
        .bind(column(&rows, |(m, _)| m.key.sku.as_str()))
        .bind(column(&rows, |(m, _)| m.key.location.as_str()))
        .bind(column(&rows, |(m, _)| m.version.number()))
        .bind(column(&rows, |(m, _)| m.kind as i16))
        .bind(column(&rows, |(m, _)| m.on_hand_delta))
        .bind(column(&rows, |(m, _)| m.on_hand))
        .bind(column(&rows, |(m, _)| m.reserved))
        .bind(writes.time.us())
        .bind(column(&rows, |(m, _)| {
            m.request_id.as_ref().map(RequestId::as_str)
        }))
        .bind(column(&rows, |(m, _)| given(&m.note)))
        .bind(column(&rows, |(_, other)| other.location.as_str()))
        .bind(column(&rows, |(_, other)| other.version.number()));
    statement.execute(&mut *connection).await?;
    let statement = query(FILE_HALVES_POSTGRES)
        .bind(writes.time.us())
        .bind(column(&rows, |(m, _)| m.key.sku.as_str()))
        .bind(column(&rows, |(m, _)| m.key.location.as_str()))
        .bind(column(&rows, |(m, _)| m.version.number()));
    statement.execute(connection).await?;
    Ok(())
}

pub(super) async fn write_sqlite(
    connection: &mut SqliteConnection,
    writes: &Writes,
) -> Result<(), StorageError> {
    let none = Parameters::default;
    let rows = further(writes);
    store(connection, FURTHER_SQLITE, none(), 5, &rows, |row, r| {
        row.add(r.request_id.shared());
        row.add(r.place);
        row.add(r.key.sku.shared());
        row.add(r.key.location.shared());
        row.add(r.version.number());
    })
    .await?;
    let mut time = none();
    time.add(writes.time.us());
    let rows = halves(writes);
    store(
        connection,
        HALVES_SQLITE,
        time,
        13,
        &rows,
        |row, (movement, other)| {
            movement_row(row, movement);
            row.add(other.location.shared());
            row.add(other.version.number());
        },
    )
    .await?;
    Ok(())
}
