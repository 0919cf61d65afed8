//! Servers of the version before deadlines, on a schema that has them.

use stockroom::client::proto::OrderState;
use uuid::Uuid;

use super::{hold, read};
use crate::api::{level, stock};
use crate::fixture::{Stockroom, StoreKind};

on_postgres! {
    servers_of_the_version_before_hold_and_confirm_while_this_one_is_rolled_out,
}

/// The parameters of `commit_orders` as servers of that version name them.
const PARAMETERS: &str = "time_us \
r_request_id r_fingerprint r_order_id r_sku r_location r_version \
o_order_id o_request_id o_state o_lines o_customer o_labels \
m_sku m_location m_version m_kind m_on_hand_d m_reserved_d m_on_hand m_reserved m_order_id m_request_id m_note \
n_sku n_location n_on_hand n_reserved n_version n_threshold n_limit \
l_sku l_location l_on_hand l_reserved l_version l_threshold l_expected \
events o_expires \
h_sku h_location h_expires h_order_id h_units h_is_first \
e_sku e_location e_expires e_order_id \
u_order_id u_expected u_version u_state u_expires u_reason u_moved";

fn call(given: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let given = given.iter().find(|(given, _)| *given == name);
        given.map_or("NULL", |(_, value)| *value)
    };
    let values: Vec<&str> = PARAMETERS.split_whitespace().map(value).collect();
    format!("SELECT commit_orders({})", values.join(", "))
}

/// What a commit has that moves one level from one version to the next.
fn of_a<'v>(
    version: &'v [&'v str; 2],
    request_id: &'v str,
    order_id: &'v str,
) -> Vec<(&'v str, &'v str)> {
    vec![
        ("r_request_id", request_id),
        (
            "r_fingerprint",
            r"ARRAY['\x000102030405060708090a0b0c0d0e0f'::bytea]",
        ),
        ("r_order_id", order_id),
        ("m_sku", "ARRAY['a']"),
        ("m_location", "ARRAY['main']"),
        ("m_version", version[1]),
        ("m_order_id", order_id),
        ("l_sku", "ARRAY['a']"),
        ("l_location", "ARRAY['main']"),
        ("l_version", version[1]),
        ("l_threshold", "ARRAY[0]"),
        ("l_expected", version[0]),
    ]
}

/// They call the function with rows of a table that is a view now, and read that.
async fn servers_of_the_version_before_hold_and_confirm_while_this_one_is_rolled_out(
    store: StoreKind,
) {
    let server = Stockroom::with(store, |c| c.holds.sweep_interval_ms = 3_600_000).await;
    let (client, home) = (&server.client, &server.home);
    stock(client, "a", 10).await;
    let id = Uuid::now_v7().to_string();
    let ids = format!("ARRAY['{id}'::uuid]");
    let (expires, request_id) = ("ARRAY[1000]", "ARRAY['old']");
    let mut old = of_a(&["ARRAY[1]", "ARRAY[2]"], request_id, &ids);
    old.extend([
        ("time_us", "7"),
        ("o_order_id", &ids),
        ("o_request_id", request_id),
        ("o_state", "ARRAY[2::smallint]"),
        (
            "o_lines",
            r#"ARRAY['[{"sku":"a","location":"main","quantity":4,"version":2}]']"#,
        ),
        ("o_expires", expires),
        ("m_kind", "ARRAY[10::smallint]"),
        ("m_on_hand_d", "ARRAY[0]"),
        ("m_reserved_d", "ARRAY[4]"),
        ("m_on_hand", "ARRAY[10]"),
        ("m_reserved", "ARRAY[4]"),
        ("l_on_hand", "ARRAY[10]"),
        ("l_reserved", "ARRAY[4]"),
        ("h_sku", "ARRAY['a']"),
        ("h_location", "ARRAY['main']"),
        ("h_expires", expires),
        ("h_order_id", &ids),
        ("h_units", "ARRAY[4]"),
        ("h_is_first", "ARRAY[true]"),
    ]);
    home.sql(&call(&old));
    home.check_books();
    let found =
        "SELECT sku, location, expires_us, units FROM hold WHERE is_first AND expires_us <= 2000";
    assert_eq!(home.sql(found), "a|main|1000|4");
    // This one takes back what is over.
    let held = hold(client, "new", &[("a", 9)], 600).await;
    assert_eq!(
        read(client, &id).await.order.unwrap().state(),
        OrderState::Expired
    );
    assert_eq!(level(client, "a").await.version, 4);
    // And that one confirms what this one holds.
    let expires = home.sql("SELECT 'ARRAY[' || expires_us || ']' FROM hold");
    home.sql(&confirmation(&held.order_id, &expires));
    assert_eq!(home.sql("SELECT count(*) FROM hold"), "0");
    assert_eq!(
        read(client, &held.order_id).await.order.unwrap().state(),
        OrderState::Confirmed
    );
}

/// Confirms an order of nine of the ten units.
fn confirmation(order_id: &str, expires: &str) -> String {
    let ids = format!("ARRAY['{order_id}'::uuid]");
    let mut old = of_a(&["ARRAY[4]", "ARRAY[5]"], "ARRAY['confirm']", &ids);
    old.extend([
        ("time_us", "8"),
        ("m_kind", "ARRAY[11::smallint]"),
        ("m_on_hand_d", "ARRAY[-9]"),
        ("m_reserved_d", "ARRAY[-9]"),
        ("m_on_hand", "ARRAY[1]"),
        ("m_reserved", "ARRAY[0]"),
        ("l_on_hand", "ARRAY[1]"),
        ("l_reserved", "ARRAY[0]"),
        ("e_sku", "ARRAY['a']"),
        ("e_location", "ARRAY['main']"),
        ("e_expires", expires),
        ("e_order_id", &ids),
        ("u_order_id", &ids),
        ("u_expected", "ARRAY[1]"),
        ("u_version", "ARRAY[2]"),
        ("u_state", "ARRAY[1::smallint]"),
        ("u_moved", "ARRAY['[[5]]']"),
    ]);
    call(&old)
}
