//! Lists of orders: what they show, in which order, and how far they look.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use prost::Message as _;
use prost_types::Timestamp;
use stockroom::client::proto::{ListOrdersRequest, Order, OrderState, StockKey};
use tonic::Code;

use crate::api::{order, received, refusal, stock};
use crate::fixture::{Stockroom, StoreKind};

on_each_store! {
    every_order_is_listed_once_and_newest_first_while_others_are_made,
    filters_show_what_fits_all_of_them,
    few_that_fit_are_found_behind_many_that_do_not,
    a_page_of_large_orders_ends_early,
    what_breaks_a_bound_is_named,
}

/// Every order that `request` lists, and how many pages it took.
async fn list(
    server: &Stockroom,
    mut request: ListOrdersRequest,
    between: impl AsyncFn(usize),
) -> (Vec<Order>, usize) {
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let page = server.client.list_orders(request.clone()).await.unwrap();
        assert!(page.orders.len() <= request.page_size as usize);
        listed.extend(page.orders);
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (listed, pages);
        }
        between(pages).await;
    }
}

fn of(page_size: i32) -> ListOrdersRequest {
    ListOrdersRequest {
        page_size,
        ..ListOrdersRequest::default()
    }
}

fn ids(orders: &[Order]) -> Vec<&str> {
    orders.iter().map(|order| order.order_id.as_str()).collect()
}

fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    let labels = labels.iter();
    labels.map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

async fn every_order_is_listed_once_and_newest_first_while_others_are_made(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000).await;
    let make = async |id: String| {
        let made = server.client.create_order(order(&id, &[("a", 1)])).await;
        made.unwrap().order.unwrap()
    };
    let mut made = Vec::new();
    for i in 0..25 {
        made.push(make(format!("first-{i}")).await);
    }
    let (listed, pages) = list(&server, of(7), async |page| {
        for i in 0..3 {
            make(format!("later-{page}-{i}")).await;
        }
    })
    .await;
    assert_eq!(pages, 4);
    made.reverse();
    assert_eq!(listed, made, "whole, newest first");
    assert!(ids(&listed).is_sorted_by(|a, b| a > b));
    // An exact multiple of the page has no page more than it needs.
    let (all, pages) = list(&server, of(17), async |_| {}).await;
    assert_eq!((all.len(), pages), (34, 2));
}

/// Orders of which each differs from its neighbours in something.
async fn shop(server: &Stockroom) -> Vec<Order> {
    for sku in ["a", "b"] {
        stock(&server.client, sku, 1_000).await;
    }
    let mut york = received("york", "a", 1_000);
    york.location = "york".to_owned();
    server.client.adjust_stock(york).await.unwrap();
    let mut made = Vec::new();
    for i in 0..36 {
        let lines: &[_] = match i % 3 {
            0 => &[("a", 1)],
            1 => &[("b", 1)],
            _ => &[("b", 2), ("a", 1), ("b", 1)],
        };
        let mut request = order(&format!("o-{i}"), lines);
        if i % 5 == 0 {
            request.lines[0].location = "york".to_owned();
            "a".clone_into(&mut request.lines[0].sku);
        }
        ["", "ann", "ann's", "\"bob\" 'ü'"][i % 4].clone_into(&mut request.customer_ref);
        let (web, quoted) = (("channel", "web"), ("it's \"odd\"", "ü\\n"));
        request.labels = match i % 7 {
            0 | 4 => labels(&[web]),
            2 => labels(&[web, quoted]),
            3 => labels(&[("channel", "shop"), quoted]),
            5 => labels(&[("campaign", "web")]),
            _ => labels(&[]),
        };
        let order = server.client.create_order(request).await.unwrap();
        made.push(order.order.unwrap());
    }
    made
}

/// The millisecond in a UUID version 7.
fn ms(order: &Order) -> i64 {
    let digits = order.order_id.replace('-', "");
    i64::from_str_radix(&digits[..12], 16).unwrap()
}

fn time(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms / 1_000,
        nanos: (ms % 1_000) as i32 * 1_000_000,
    }
}

/// What `request` must list of `orders`, which were made in this order.
fn expected(request: &ListOrdersRequest, orders: &[Order]) -> Vec<Order> {
    let level = request.level.as_ref().map(|key| {
        let location = match key.location.as_str() {
            "" => "main",
            other => other,
        };
        (key.sku.as_str(), location)
    });
    let line_of = |order: &Order| {
        let mut lines = order.lines.iter();
        let line = lines.find(|line| Some((&*line.sku, &*line.location)) == level);
        line.map(|line| line.version)
    };
    let time_ms = |time: &Timestamp| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
    let fits = |order: &&Order| {
        let customer = &request.customer_ref;
        (customer.is_empty() || order.customer_ref == *customer)
            && request
                .labels
                .iter()
                .all(|(k, v)| order.labels.get(k) == Some(v))
            && (level.is_none() || line_of(order).is_some())
            && request
                .start_time
                .as_ref()
                .is_none_or(|t| ms(order) >= time_ms(t))
            && request
                .end_time
                .as_ref()
                .is_none_or(|t| ms(order) < time_ms(t))
    };
    let mut fitting: Vec<Order> = orders.iter().filter(fits).cloned().collect();
    fitting.sort_by_key(|order| order.order_id.clone());
    if level.is_some() {
        fitting.sort_by_key(|order| line_of(order));
    }
    fitting.reverse();
    fitting
}

async fn filters_show_what_fits_all_of_them(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let orders = shop(&server).await;
    let key = |sku: &str, location: &str| StockKey {
        sku: sku.to_owned(),
        location: location.to_owned(),
    };
    let levels = [
        None,
        Some(key("a", "")),
        Some(key("a", "york")),
        Some(key("b", "main")),
        Some(key("unknown", "")),
    ];
    let customers = ["", "ann", "ann's", "\"bob\" 'ü'", "nobody"];
    let labelled = [
        labels(&[]),
        labels(&[("channel", "web")]),
        labels(&[("channel", "web"), ("it's \"odd\"", "ü\\n")]),
        labels(&[("channel", "%")]),
    ];
    let (begin, end) = (Some(time(ms(&orders[9]))), Some(time(ms(&orders[30]))));
    let times = [(None, None), (begin, None), (None, end), (begin, end)];
    let mut shown = 0;
    for level in &levels {
        for customer_ref in customers {
            for labels in &labelled {
                for (start_time, end_time) in times {
                    let request = ListOrdersRequest {
                        customer_ref: customer_ref.to_owned(),
                        labels: labels.clone(),
                        level: level.clone(),
                        start_time,
                        end_time,
                        state: OrderState::Confirmed.into(),
                        ..of(4)
                    };
                    let expected = expected(&request, &orders);
                    let (listed, _) = list(&server, request.clone(), async |_| {}).await;
                    assert_eq!(ids(&listed), ids(&expected), "{request:#?}");
                    shown += listed.len();
                }
            }
        }
    }
    assert!(shown > 500, "the filters fit too little: {shown}");
}

async fn few_that_fit_are_found_behind_many_that_do_not(store: StoreKind) {
    const CALLERS: usize = 64;
    const EACH: usize = 80;
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 1_000_000).await;
    let make = async |id: String, labelled: &[(&str, &str)]| {
        let mut request = order(&id, &[("a", 1)]);
        "often".clone_into(&mut request.customer_ref);
        request.labels = labels(labelled);
        let made = server.client.create_order(request).await.unwrap();
        made.order.unwrap()
    };
    let first = make("first".to_owned(), &[("z", "rare"), ("a", "often")]).await;
    let callers = (0..CALLERS).map(|caller| {
        let make = &make;
        async move {
            for i in 0..EACH {
                make(format!("{caller}-{i}"), &[("a", "often")]).await;
            }
        }
    });
    join_all(callers).await;
    let rare = labels(&[("z", "rare")]);
    let both = labels(&[("z", "rare"), ("a", "often")]);
    let key = StockKey {
        sku: "a".to_owned(),
        ..StockKey::default()
    };
    // How many pages it takes depends on the index alone that leads there.
    for (customer_ref, level, labels, expected_pages) in [
        ("", None, &rare, 1),
        ("", None, &both, 3),
        ("often", None, &rare, 3),
        ("", Some(key), &rare, 3),
    ] {
        let request = ListOrdersRequest {
            customer_ref: customer_ref.to_owned(),
            level,
            labels: labels.clone(),
            ..of(10)
        };
        let (listed, pages) = list(&server, request.clone(), async |_| {}).await;
        assert_eq!(ids(&listed), [&first.order_id], "{request:#?}");
        assert_eq!(pages, expected_pages, "{request:#?}");
    }
}

async fn a_page_of_large_orders_ends_early(store: StoreKind) {
    let server = Stockroom::start(store).await;
    let sku = "x".repeat(64);
    stock(&server.client, &sku, 1_000_000).await;
    for i in 0..40 {
        let large = order(&format!("large-{i}"), &vec![(&*sku, 1); 1_000]);
        server.client.create_order(large).await.unwrap();
    }
    let first = server.client.list_orders(of(1_000)).await.unwrap();
    assert!((2..40).contains(&first.orders.len()));
    // What gRPC clients take of a message, unless told otherwise.
    assert!(first.encoded_len() < 4 << 20, "{}", first.encoded_len());
    let (listed, pages) = list(&server, of(1_000), async |_| {}).await;
    assert!(pages > 1);
    assert_eq!(listed.len(), 40);
    assert!(ids(&listed).is_sorted_by(|a, b| a > b));
}

async fn what_breaks_a_bound_is_named(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 10).await;
    for id in ["o-1", "o-2"] {
        let sale = order(id, &[("a", 1)]);
        server.client.create_order(sale).await.unwrap();
    }
    let fields = async |request: ListOrdersRequest| {
        let refused = refusal(server.orders().list_orders(request).await);
        refused.is(Code::InvalidArgument, "INVALID_REQUEST");
        refused.fields().join(" ")
    };
    let nowhere = StockKey {
        sku: "?".to_owned(),
        location: "no where".to_owned(),
    };
    let never = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let bad = ListOrdersRequest {
        page_token: "???".to_owned(),
        state: 99,
        customer_ref: "c".repeat(129),
        labels: labels(&[("k", &"v".repeat(256))]),
        level: Some(nowhere),
        start_time: never(i64::MAX, 0),
        end_time: never(0, -1),
        ..of(-1)
    };
    let all = "page_size state customer_ref labels[\"k\"] level.sku level.location \
               start_time end_time page_token";
    assert_eq!(fields(bad).await, all);
    assert_eq!(fields(of(1_001)).await, "page_size");
    let backwards = ListOrdersRequest {
        start_time: never(5, 0),
        end_time: never(5, 0),
        ..of(0)
    };
    assert_eq!(fields(backwards).await, "end_time");
    // A token belongs to the list that it was given for.
    let page = server.client.list_orders(of(1)).await.unwrap();
    let other = ListOrdersRequest {
        page_token: page.next_page_token.clone(),
        customer_ref: "ann".to_owned(),
        ..of(1)
    };
    assert_eq!(fields(other).await, "page_token");
    let longer = ListOrdersRequest {
        page_token: page.next_page_token,
        ..of(1_000)
    };
    let page = server.client.list_orders(longer).await.unwrap();
    assert_eq!((page.orders.len(), &*page.next_page_token), (1, ""));
    // A time before there were computers is as good as any.
    let long_ago = ListOrdersRequest {
        start_time: never(-62_135_596_800, 0),
        end_time: never(-5, 0),
        ..of(0)
    };
    let page = server.client.list_orders(long_ago).await.unwrap();
    assert_eq!(page.orders, []);
}
