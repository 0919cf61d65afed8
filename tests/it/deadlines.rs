//! Deadlines: a caller is told in time, and what it began goes on.

use std::net::SocketAddr;

use futures_util::future::join_all;
use h2::RecvStream;
use h2::client::SendRequest;
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use stockroom::client::proto::CreateOrderRequest;
use tonic::Code;

use crate::api::{order, stock};
use crate::fixture::{Stockroom, StoreKind, in_time};
use crate::holding::Hold;

on_each_store! {
    a_deadline_shorter_than_any_answer_is_deadline_exceeded,
    a_call_whose_request_never_comes_ends_at_the_servers_deadline,
}

async fn a_deadline_shorter_than_any_answer_is_deadline_exceeded(store: StoreKind) {
    let server = Stockroom::start(store).await;
    stock(&server.client, "a", 100).await;
    for timeout in ["1n", "1u", "0m", "1m", "2m"].repeat(4) {
        let id = uuid::Uuid::now_v7().to_string();
        let code = create_order(server.addr, timeout, &order(&id, &[("a", 1)])).await;
        // Two milliseconds may be enough.
        let in_time = matches!(timeout, "1m" | "2m") && code == Code::Ok;
        assert!(
            in_time || code == Code::DeadlineExceeded,
            "{timeout}: {code:?}"
        );
    }
    for timeout in ["5S", "1H", "99999999H"] {
        let id = uuid::Uuid::now_v7().to_string();
        let code = create_order(server.addr, timeout, &order(&id, &[("a", 1)])).await;
        assert_eq!(code, Code::Ok, "{timeout}");
    }
}

async fn a_call_whose_request_never_comes_ends_at_the_servers_deadline(store: StoreKind) {
    let server = Stockroom::with(store, |config| config.server.request_timeout_ms = 100).await;
    let mut caller = connect(server.addr).await;
    for method in [
        "stockroom.v1.OrderService/CreateOrder",
        "stockroom.v1.InventoryService/WatchStock",
        "grpc.health.v1.Health/Watch",
    ] {
        let head = head(server.addr, method).body(()).unwrap();
        let (answer, _request) = caller.send_request(head, false).unwrap();
        let code = code_of(in_time("it is answered", answer).await.unwrap()).await;
        assert_eq!(code, Code::DeadlineExceeded, "{method}");
    }
}

mod of_a_slow_database {
    use super::*;

    on_postgres! {
        a_deadline_that_passes_during_a_commit_does_not_stop_it,
        orders_whose_deadline_passes_in_the_queue_are_never_made,
        a_caller_without_a_deadline_gets_the_servers,
    }

    async fn a_deadline_that_passes_during_a_commit_does_not_stop_it(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let hold = Hold::on(&server.home).await;
        let request = order("overtaken", &[("a", 1)]);
        let overtaken = create_order(server.addr, "2S", &request);
        let (code, ()) = tokio::join!(overtaken, hold.has_waiter());
        assert_eq!(code, Code::DeadlineExceeded);
        drop(hold);
        let answer = server.client.create_order(request).await.unwrap();
        assert!(answer.replayed, "the commit had gone on");
    }

    async fn orders_whose_deadline_passes_in_the_queue_are_never_made(store: StoreKind) {
        const LATE: usize = 20;
        let server = Stockroom::with(store, |config| config.engine.commits_in_flight_max = 1).await;
        stock(&server.client, "a", 100).await;
        let hold = Hold::on(&server.home).await;
        let first = tokio::spawn({
            let client = server.client.clone();
            async move { client.create_order(order("first", &[("a", 1)])).await }
        });
        hold.has_waiter().await;
        let late: Vec<_> = (0..LATE)
            .map(|i| order(&format!("late-{i}"), &[("a", 1)]))
            .collect();
        let codes = join_all(
            late.iter()
                .map(|late| create_order(server.addr, "100m", late)),
        );
        assert_eq!(codes.await, [Code::DeadlineExceeded; LATE]);
        drop(hold);
        first.await.unwrap().unwrap();
        // Planned after whatever was queued before it.
        let last = server.client.create_order(order("last", &[("a", 1)]));
        last.await.unwrap();
        assert_eq!(server.home.books().orders, 2, "first and last");
        let again = server.client.create_order(late[0].clone()).await.unwrap();
        assert!(!again.replayed);
    }

    async fn a_caller_without_a_deadline_gets_the_servers(store: StoreKind) {
        let server = Stockroom::with(store, |config| config.server.request_timeout_ms = 100).await;
        stock(&server.client, "a", 10).await;
        let hold = Hold::on(&server.home).await;
        let answer = server
            .orders()
            .create_order(order("overtaken", &[("a", 1)]))
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
        drop(hold);
    }
}

/// Calls CreateOrder by HTTP/2 alone: every gRPC client has a timer of its own
/// that reads the deadline too, and would answer before the server.
async fn create_order(addr: SocketAddr, timeout: &str, request: &CreateOrderRequest) -> Code {
    let head = head(addr, "stockroom.v1.OrderService/CreateOrder");
    let head = head.header("grpc-timeout", timeout).body(()).unwrap();
    let (answer, mut body) = connect(addr).await.send_request(head, false).unwrap();
    // A server that has answered already wants no body.
    let _ = body.send_data(framed(request), true);
    code_of(answer.await.unwrap()).await
}

async fn connect(addr: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn head(addr: SocketAddr, method: &str) -> http::request::Builder {
    http::Request::post(format!("http://{addr}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

async fn code_of(answer: http::Response<RecvStream>) -> Code {
    let status = match answer.headers().get("grpc-status") {
        Some(status) => status.clone(),
        None => {
            let mut body = answer.into_body();
            while let Some(data) = body.data().await {
                let _ = body.flow_control().release_capacity(data.unwrap().len());
            }
            body.trailers().await.unwrap().unwrap()["grpc-status"].clone()
        }
    };
    Code::from_bytes(status.as_bytes())
}

/// A message as gRPC sends it: a flag, the length, the bytes.
fn framed(request: &CreateOrderRequest) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(request.encoded_len().try_into().unwrap());
    request.encode(&mut frame).unwrap();
    frame.freeze()
}
