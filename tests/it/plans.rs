//! What a page of a list costs PostgreSQL, however much lies around it: it explains the
//! server's own statements as they run (auto_explain), with the rows that they touch.

mod explained;

use stockroom::client::proto::list_movements_request::Scope;
use stockroom::client::proto::stock_selector::Selector;
use stockroom::client::proto::{
    ListMovementsRequest, ListOrdersRequest, ListStockRequest, OrderState, StockKey, StockSelector,
};

use self::explained::Explained;
use crate::api::{cancel, confirm, stock};
use crate::fixture::{Home, Stockroom, StoreKind};
use crate::holds::{hold, is_over, read};
use crate::watching::{Watcher, watch_of};

on_postgres! {
    a_page_of_a_long_history_costs_no_more_than_one_of_a_short_one,
    a_page_of_movements_by_time_costs_what_it_shows,
    a_page_of_orders_costs_what_it_shows_or_what_it_may_look_at,
    a_page_of_levels_costs_what_it_shows_or_what_it_may_look_at,
    what_was_planned_while_the_tables_were_empty_costs_no_more_when_they_are_full,
}

/// Orders of one unit of `hot`, each a movement. Enough that reading all of them, or
/// sorting them, would show.
const ORDERS: i64 = 60_000;

/// Explains every statement of sessions that begin from now on.
const EXPLAIN: &str = "DO $$ DECLARE setting text; BEGIN
    FOREACH setting IN ARRAY ARRAY[
        'session_preload_libraries = ''auto_explain''', 'auto_explain.log_min_duration = 0',
        'auto_explain.log_analyze = on', 'auto_explain.log_timing = off', 'auto_explain.log_buffers = on']
    LOOP
        EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
    END LOOP;
END $$";

/// A store as `ORDERS` orders leave it: the books balance. Ids rise by a millisecond.
const FILL: [&str; 7] = [
    "INSERT INTO product VALUES ('hot', '', 0), ('cold', '', 0)",
    "INSERT INTO stock_level SELECT sku, 'main', 10, 0, versions, 0, 0
     FROM (VALUES ('hot', {orders} + 1), ('cold', 10)) AS level (sku, versions)",
    "INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us)
     SELECT 'cold', 'main', v, 1, 1, 0, v, 0, 0 FROM generate_series(1, 10) AS v
     UNION ALL SELECT 'hot', 'main', 1, 1, {orders} + 10, 0, {orders} + 10, 0, 0",
    "INSERT INTO movement
     SELECT 'hot', 'main', i + 1, 6, -1, 0, {orders} + 10 - i, 0, i / 500 * 500000 + 1000, {id}
     FROM generate_series(1, {orders}) AS i",
    // As commits of 500 orders would file them: those of one time together.
    "INSERT INTO movement_time
     SELECT time_us, (array_agg(sku))[count(*)], 'main', (array_agg(last))[count(*)], array_agg(sku),
            array_agg('main'::text), array_agg(after), array_agg(last)
     FROM (SELECT time_us, sku, min(version) - 1 AS after, max(version) AS last
           FROM movement WHERE sku IN ('hot', 'cold') GROUP BY time_us, sku ORDER BY time_us, sku) AS moved
     GROUP BY time_us",
    "WITH made AS (
         INSERT INTO orders
         SELECT {id}, 'request-' || i, 1,
                json_build_array(json_build_object('sku', 'hot', 'location', 'main', 'quantity', 1, 'version', i + 1)),
                CASE WHEN i % 15000 = 7 THEN 'rare' WHEN i % 2 = 0 THEN 'often' END,
                CASE WHEN i % 15000 = 9 THEN '{\"campaign\": \"rare\"}'::jsonb
                     WHEN i % 2 = 0 THEN '{\"channel\": \"web\"}'::jsonb END,
                i * 1000, i * 1000, 1
         FROM generate_series(1, {orders}) AS i
         RETURNING order_id, request_id)
     INSERT INTO request SELECT request_id, '', order_id FROM made",
    "INSERT INTO order_label SELECT l.key, l.value, order_id FROM orders, jsonb_each_text(labels) AS l",
];

/// A store of as many levels: the last one is low, and four are in the attic. The books
/// balance.
const FILL_LEVELS: [&str; 4] = [
    "INSERT INTO product
     SELECT 'level-' || lpad(i::text, 6, '0'), '', CASE i WHEN {orders} THEN 10 ELSE 0 END
     FROM generate_series(1, {orders}) AS i",
    "INSERT INTO stock_level
     SELECT 'level-' || lpad(i::text, 6, '0'), CASE i % 15000 WHEN 7 THEN 'attic' ELSE 'main' END, 10, 0, 1,
            CASE i WHEN {orders} THEN 10 ELSE 0 END, 0
     FROM generate_series(1, {orders}) AS i",
    "INSERT INTO movement (sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved, time_us)
     SELECT sku, location, 1, 1, 10, 0, 10, 0, right(sku, 6)::bigint / 500 FROM stock_level",
    "INSERT INTO movement_time
     SELECT time_us, (array_agg(sku))[count(*)], (array_agg(location))[count(*)], 1, array_agg(sku),
            array_agg(location), array_agg(0::bigint), array_agg(1::bigint)
     FROM (SELECT * FROM movement ORDER BY time_us, sku) AS moved
     GROUP BY time_us",
];

/// A UUID version 7 of the millisecond `i`.
const ID: &str = "(lpad(to_hex(i), 12, '0') || '70008' || lpad(to_hex(i), 15, '0'))::uuid";

async fn filled(store: StoreKind) -> Stockroom {
    let home = Home::new(store);
    // The schema, by a server that is gone before the statements are explained.
    drop(Stockroom::on(home.clone(), |_| {}).await);
    fill(&home);
    home.sql(EXPLAIN);
    Stockroom::on(home, |_| {}).await
}

fn fill(home: &Home) {
    for sql in FILL {
        let sql = sql.replace("{id}", ID);
        home.sql(&sql.replace("{orders}", &ORDERS.to_string()));
    }
}

async fn a_page_of_a_long_history_costs_no_more_than_one_of_a_short_one(store: StoreKind) {
    let server = filled(store).await;
    let page = |sku: &str, after_version| ListMovementsRequest {
        page_size: 8,
        scope: Some(Scope::Level(StockKey {
            sku: sku.to_owned(),
            ..StockKey::default()
        })),
        after_version,
        ..ListMovementsRequest::default()
    };
    // Before anything has counted the rows, and after.
    for statistics in ["SELECT 1", "VACUUM ANALYZE"] {
        server.home.sql(statistics);
        for (sku, after) in [("cold", 0), ("hot", 0), ("hot", ORDERS / 2)] {
            let page = server.client.list_movements(page(sku, after)).await;
            assert_eq!(page.unwrap().movements.len(), 8);
            let plan = Explained::last_of(&server, "FROM \"movement\"").await;
            plan.uses("movement_pkey", 9);
        }
    }
}

async fn a_page_of_movements_by_time_costs_what_it_shows(store: StoreKind) {
    let server = filled(store).await;
    let half = time(ORDERS / 2);
    let page = |start_time, scope| ListMovementsRequest {
        page_size: 8,
        start_time,
        scope,
        ..ListMovementsRequest::default()
    };
    let hot = || {
        Some(Scope::Level(StockKey {
            sku: "hot".to_owned(),
            ..StockKey::default()
        }))
    };
    for statistics in ["SELECT 1", "VACUUM ANALYZE"] {
        server.home.sql(statistics);
        for start_time in [None, half, time(ORDERS - 600)] {
            let of_all = server.client.list_movements(page(start_time, None)).await;
            let of_all = of_all.unwrap();
            assert_eq!(of_all.movements.len(), 8);
            // From within a commit.
            let next = ListMovementsRequest {
                page_token: of_all.next_page_token,
                ..page(start_time, None)
            };
            let next = server.client.list_movements(next).await.unwrap();
            assert_eq!(next.movements.len(), 8);
            let plan = Explained::last_of(&server, "FROM movement_time").await;
            plan.uses("movement_time_pkey", 18);
            plan.uses("movement_pkey", 18);
            if start_time.is_none() {
                continue;
            }
            // What was made ten seconds before is compared as well, here ten thousand.
            let mut request = page(start_time, hot());
            let first = server.client.list_movements(request.clone()).await.unwrap();
            assert_eq!(first.movements, []);
            let plan = Explained::last_of(&server, "AND time_us >= $5").await;
            plan.uses("movement_pkey", 10_000);
            request.page_token = first.next_page_token;
            let of_level = server.client.list_movements(request).await.unwrap();
            assert_eq!(of_level.movements.len(), 8);
            // A step for each halving.
            let plan = Explained::last_of(&server, "RECURSIVE halved").await;
            plan.uses("movement_pkey", 20);
        }
    }
}

/// One list of orders and what its page costs.
struct Listed {
    filter: ListOrdersRequest,
    /// The index that leads.
    index: &'static str,
    /// The statement that reads the page, in part.
    table: &'static str,
    orders: usize,
    /// Whether more than the page has to be looked at.
    looks_further: bool,
}

fn time(ms: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: ms / 1_000,
        nanos: (ms % 1_000) as i32 * 1_000_000,
    })
}

fn lists() -> Vec<Listed> {
    let all = ListOrdersRequest {
        page_size: 8,
        ..ListOrdersRequest::default()
    };
    let of_customer = |name: &str| ListOrdersRequest {
        customer_ref: name.to_owned(),
        ..all.clone()
    };
    let with_label = |filter: &ListOrdersRequest, key: &str, value: &str| ListOrdersRequest {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..filter.clone()
    };
    let of_level = ListOrdersRequest {
        level: Some(StockKey {
            sku: "hot".to_owned(),
            ..StockKey::default()
        }),
        ..all.clone()
    };
    let between = ListOrdersRequest {
        start_time: time(ORDERS / 2),
        end_time: time(ORDERS / 2 + 5),
        ..all.clone()
    };
    let listed = |filter: &ListOrdersRequest, index, table, orders| Listed {
        filter: filter.clone(),
        index,
        table,
        orders,
        looks_further: false,
    };
    let orders = "FROM orders AS o WHERE o.order_id >=";
    let (customers, labelled) = ("FROM orders AS o WHERE o.customer_ref", "FROM order_label");
    let level = "FROM movement AS w";
    let further = |listed| Listed {
        looks_further: true,
        ..listed
    };
    let (rare, often) = (of_customer("rare"), of_customer("often"));
    let rare_label = with_label(&all, "campaign", "rare");
    let common_label = with_label(&all, "channel", "web");
    vec![
        listed(&all, "orders_pkey", orders, 8),
        listed(&between, "orders_pkey", orders, 5),
        listed(&rare, "orders_customer_ref", customers, 4),
        listed(&often, "orders_customer_ref", customers, 8),
        listed(&rare_label, "order_label_pkey", labelled, 4),
        listed(&common_label, "order_label_pkey", labelled, 8),
        listed(&of_level, "movement_pkey", level, 8),
        further(listed(
            &with_label(&often, "campaign", "rare"),
            "orders_customer_ref",
            customers,
            0,
        )),
        further(listed(
            &with_label(&of_level, "campaign", "none"),
            "movement_pkey",
            level,
            0,
        )),
    ]
}

async fn a_page_of_orders_costs_what_it_shows_or_what_it_may_look_at(store: StoreKind) {
    const LOOKED_AT_MAX: u64 = 2_000;
    let server = filled(store).await;
    for statistics in ["SELECT 1", "VACUUM ANALYZE"] {
        server.home.sql(statistics);
        for list in lists() {
            let page = server.client.list_orders(list.filter.clone()).await;
            let page = page.unwrap();
            assert_eq!(page.orders.len(), list.orders, "{:#?}", list.filter);
            let goes_on = !page.next_page_token.is_empty();
            assert_eq!(goes_on, list.orders == 8 || list.looks_further);
            let rows = if list.looks_further { LOOKED_AT_MAX } else { 9 };
            let plan = Explained::last_of(&server, list.table).await;
            plan.uses(list.index, rows);
        }
        // What says how far a page may look.
        let plan = Explained::last_of(&server, "LIMIT 1 OFFSET").await;
        plan.uses("orders_customer_ref", LOOKED_AT_MAX);
    }
}

async fn a_page_of_levels_costs_what_it_shows_or_what_it_may_look_at(store: StoreKind) {
    const LOOKED_AT_MAX: u64 = 1_000;
    let home = Home::new(store);
    drop(Stockroom::on(home.clone(), |_| {}).await);
    for sql in FILL_LEVELS {
        home.sql(&sql.replace("{orders}", &ORDERS.to_string()));
    }
    home.sql(EXPLAIN);
    let server = Stockroom::on(home, |_| {}).await;
    let list = ListStockRequest {
        page_size: 8,
        ..ListStockRequest::default()
    };
    for statistics in ["SELECT 1", "VACUUM ANALYZE"] {
        server.home.sql(statistics);
        let mut low = ListStockRequest {
            low_only: true,
            ..list.clone()
        };
        loop {
            let page = server.client.list_stock(low.clone()).await.unwrap();
            let plan = Explained::last_of(&server, "AS looked_at").await;
            plan.uses("stock_level_pkey", LOOKED_AT_MAX);
            if page.next_page_token.is_empty() {
                let found: Vec<&str> = page.levels.iter().map(|it| it.sku.as_str()).collect();
                assert_eq!(found, [format!("level-{ORDERS:06}")]);
                break;
            }
            assert_eq!(page.levels, []);
            low.page_token = page.next_page_token;
        }
        let all = server.client.list_stock(list.clone()).await.unwrap();
        assert_eq!(all.levels.len(), 8);
        let plan = Explained::last_of(&server, "deleted FROM stock_level ORDER BY").await;
        plan.uses("stock_level_pkey", 9);
        let there = StockSelector {
            selector: Some(Selector::Location("attic".to_owned())),
        };
        let there = Watcher::synced(&server, watch_of(vec![there])).await;
        assert_eq!(there.versions().len(), 4);
        let plan = Explained::last_of(&server, "AND location <=").await;
        plan.uses("stock_level_location", 4);
    }
}

async fn what_was_planned_while_the_tables_were_empty_costs_no_more_when_they_are_full(
    store: StoreKind,
) {
    const SELDOM_MS: u64 = 3_600_000;
    for (sweep_interval_ms, statement) in [(10, "LIMIT $1"), (SELDOM_MS, "d.levels && $1")] {
        let home = Home::new(store);
        drop(Stockroom::on(home.clone(), |_| {}).await);
        home.sql(EXPLAIN);
        // A connection of each kind, so that what has been planned once is not planned again.
        let server = Stockroom::on(home.clone(), |c| {
            c.store.pool_max = 1;
            c.holds.sweep_interval_ms = sweep_interval_ms;
        })
        .await;
        stock(&server.client, "a", 2).await;
        live(&server, "empty").await;
        fill(&home);
        let before = Explained::all_of(&server, "").len();
        live(&server, "full").await;
        let after = Explained::all_of(&server, "").split_off(before);
        let looks_for_holds = |it: &Explained| {
            let plan = &it.0;
            plan.contains("hold_deadline") && plan.contains(statement)
        };
        assert!(after.iter().any(looks_for_holds), "it was not asked");
        for statement in after {
            assert!(statement.rows() <= 100, "{}", statement.0);
        }
    }
}

/// An order that is confirmed and taken back, and one that is over and in the way of
/// another, unless the sweeper has ended it before.
async fn live(server: &Stockroom, round: &str) {
    let client = &server.client;
    let id = |what: &str| format!("{what}-{round}");
    let kept = hold(client, &id("kept"), &[("a", 2)], 600).await;
    let taken = client.confirm_order(confirm(&id("confirm"), &kept.order_id));
    taken.await.unwrap();
    let back = client.cancel_order(cancel(&id("cancel"), &kept.order_id));
    back.await.unwrap();
    let over = hold(client, &id("over"), &[("a", 2)], 1).await;
    is_over(&server.home, &over).await;
    let another = hold(client, &id("another"), &[("a", 2)], 600).await;
    let back = client.cancel_order(cancel(&id("undo"), &another.order_id));
    back.await.unwrap();
    let ended = read(client, &over.order_id).await.order.unwrap();
    assert_eq!(ended.state(), OrderState::Expired);
}
