//! request_id: a write happens once, however often and wherever it is sent.

use futures_util::future::join_all;
use tonic::Code;

use super::shop::{Cell, Shop};
use crate::api::{batch_of, counted, level, order, received, refusal, stock, transfer};

pub(super) async fn one_request_sent_sixteen_times_at_once_makes_one_order(cell: Cell) {
    const ROUNDS: i64 = 3;
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    for round in 0..ROUNDS {
        let request = order(&format!("impatient-{round}"), &[("a", 1)]);
        let answers = join_all((0..16).map(|i| {
            let (server, request) = (shop.server(i), &request);
            async move {
                let client = server.another_client().await.retrying();
                client.create_order(request).await.unwrap()
            }
        }))
        .await;
        let first = answers[0].order.as_ref();
        assert!(first.is_some());
        assert!(answers.iter().all(|answer| answer.order.as_ref() == first));
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        let again = shop.client(1).create_order(request).await.unwrap();
        assert_eq!((again.replayed, again.order.as_ref()), (true, first));
    }
    assert_eq!(level(shop.client(0), "a").await.on_hand, 100 - ROUNDS);
}

pub(super) async fn of_payloads_that_race_under_one_id_one_is_made_and_the_rest_are_refused(
    cell: Cell,
) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    let requests: Vec<_> = (1..=8).map(|n| order("contested", &[("a", n)])).collect();
    let answers = shop.order_all(&requests).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let reasons: Vec<String> = refused.into_iter().map(|r| r.unwrap_err().reason).collect();
    assert_eq!(reasons, ["REQUEST_ID_REUSED"; 7]);
    let made = made.into_iter().next().unwrap().unwrap();
    assert!(!made.replayed);
    let sold = made.order.unwrap().lines[0].quantity;
    assert_eq!(level(shop.client(0), "a").await.on_hand, 100 - sold);
}

pub(super) async fn an_answer_that_is_stored_is_replayed_wherever_it_is_asked_for(cell: Cell) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    // What the second instance remembers is behind from here on.
    let before = order("before", &[("a", 1)]);
    shop.retrying(1).create_order(&before).await.unwrap();
    let request = order("stored", &[("a", 1)]);
    let made = shop.retrying(0).create_order(&request).await.unwrap();
    let count = counted("count", "a", 90);
    let first = shop.retrying(0).adjust_stock(&count).await.unwrap();
    assert!(!made.replayed && !first.replayed);
    for i in [1, 0] {
        let again = shop.retrying(i).create_order(&request).await.unwrap();
        assert_eq!((again.replayed, &again.order), (true, &made.order));
        let again = shop.retrying(i).adjust_stock(&count).await.unwrap();
        assert_eq!((again.replayed, &again.movement), (true, &first.movement));
        let now = again.level.unwrap();
        assert_eq!((now.on_hand, now.version), (90, 4));
        let other = order("stored", &[("a", 2)]);
        let refused = refusal(shop.server(i).orders().create_order(other).await);
        refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
        let other = received("stored", "a", 1);
        let refused = refusal(shop.server(i).inventory().adjust_stock(other).await);
        refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
    assert_eq!(level(shop.client(0), "a").await.on_hand, 90);
}

pub(super) async fn an_answer_of_several_movements_is_replayed_wherever_it_is_asked_for(
    cell: Cell,
) {
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    stock(shop.client(0), "b", 100).await;
    // What the second instance remembers is behind from here on.
    let before = order("before", &[("a", 1), ("b", 1)]);
    shop.retrying(1).create_order(&before).await.unwrap();
    let moves = transfer("moves", "main", "york", &[("b", 5), ("a", 3)]);
    let several = batch_of(
        "several",
        [
            received("", "a", 1),
            counted("", "b", 50),
            received("", "a", 2),
        ],
    );
    let moved = shop.retrying(0).transfer_stock(&moves).await.unwrap();
    let made = shop.retrying(0).batch_adjust_stock(&several).await.unwrap();
    assert!(!moved.replayed && !made.replayed);
    for i in [1, 0] {
        let again = shop.retrying(i).transfer_stock(&moves).await.unwrap();
        assert_eq!((again.replayed, &again.movements), (true, &moved.movements));
        let again = shop.retrying(i).batch_adjust_stock(&several).await.unwrap();
        assert_eq!((again.replayed, &again.movements), (true, &made.movements));
        assert_eq!(again.levels, made.levels);
        let other = transfer("moves", "york", "main", &[("b", 5), ("a", 3)]);
        let refused = refusal(shop.server(i).inventory().transfer_stock(other).await);
        refused.is(Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
    assert_eq!(level(shop.client(0), "a").await.on_hand, 99);
}

pub(super) async fn repeats_in_a_batch_fail_no_neighbour(cell: Cell) {
    const NEIGHBOURS: usize = 30;
    let shop = Shop::open(cell).await;
    stock(shop.client(0), "a", 100).await;
    let stored = order("stored", &[("a", 1)]);
    let first = shop.client(0).create_order(stored.clone()).await.unwrap();
    let twin = order("twin", &[("a", 1)]);
    let other = order("stored", &[("a", 2)]);
    let mut requests: Vec<_> = (0..NEIGHBOURS)
        .map(|i| order(&format!("neighbour-{i}"), &[("a", 1)]))
        .collect();
    for place in [25, 18, 11, 4] {
        for repeat in [&stored, &twin, &other] {
            requests.insert(place, repeat.clone());
        }
    }
    let answers = shop.order_all(&requests).await;
    let mut twins = Vec::new();
    for (request, answer) in requests.iter().zip(answers) {
        if *request == other {
            assert_eq!(answer.unwrap_err().reason, "REQUEST_ID_REUSED");
            continue;
        }
        let answer = answer.unwrap_or_else(|e| panic!("{}: {e}", request.request_id));
        if *request == stored {
            assert_eq!((answer.replayed, &answer.order), (true, &first.order));
        } else if *request == twin {
            twins.push(answer);
        } else {
            assert!(!answer.replayed, "{}", request.request_id);
        }
    }
    assert_eq!(twins.iter().filter(|twin| !twin.replayed).count(), 1);
    assert!(twins.iter().all(|twin| twin.order == twins[0].order));
    assert_eq!(level(shop.client(0), "a").await.on_hand, 98 - 30);
}
