//! Deadlines: a caller is told in time, and what it began goes on.

use std::net::SocketAddr;

use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use stockroom::client::proto::CreateOrderRequest;
use tonic::Code;

use crate::api::{order, stock};
use crate::fixture::{Stockroom, StoreKind, eventually};

on_each_store! {
    a_deadline_shorter_than_any_answer_is_deadline_exceeded,
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

mod of_a_slow_database {
    use super::*;

    on_postgres! {
        a_deadline_that_passes_during_a_commit_does_not_stop_it,
        a_caller_without_a_deadline_gets_the_servers,
    }

    /// Holds every write of stock back for a second.
    async fn hold(server: &Stockroom) -> tokio::task::JoinHandle<String> {
        let home = server.home.clone();
        let holding = tokio::task::spawn_blocking(move || {
            home.sql("BEGIN; LOCK TABLE stock_level IN EXCLUSIVE MODE; SELECT pg_sleep(1); COMMIT")
        });
        eventually("the table is locked", async || {
            let locks = "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' \
                AND relation = 'stock_level'::regclass AND granted";
            server.home.sql(locks) == "1"
        })
        .await;
        holding
    }

    async fn a_deadline_that_passes_during_a_commit_does_not_stop_it(store: StoreKind) {
        let server = Stockroom::start(store).await;
        stock(&server.client, "a", 10).await;
        let holding = hold(&server).await;
        let request = order("overtaken", &[("a", 1)]);
        assert_eq!(
            create_order(server.addr, "100m", &request).await,
            Code::DeadlineExceeded
        );
        holding.await.unwrap();
        let answer = server.client.create_order(request).await.unwrap();
        assert!(answer.replayed, "the commit had gone on");
    }

    async fn a_caller_without_a_deadline_gets_the_servers(store: StoreKind) {
        let server = Stockroom::with(store, |config| config.server.request_timeout_ms = 100).await;
        stock(&server.client, "a", 10).await;
        let holding = hold(&server).await;
        let answer = server
            .orders()
            .create_order(order("overtaken", &[("a", 1)]))
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
        holding.await.unwrap();
    }
}

/// Calls CreateOrder by HTTP/2 alone: every gRPC client has a timer of its own
/// that reads the deadline too, and would answer before the server.
async fn create_order(addr: SocketAddr, timeout: &str, request: &CreateOrderRequest) -> Code {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let head = http::Request::post(format!(
        "http://{addr}/stockroom.v1.OrderService/CreateOrder"
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .header("grpc-timeout", timeout)
    .body(())
    .unwrap();
    let (answer, mut body) = sender.send_request(head, false).unwrap();
    // A server that has answered already wants no body.
    let _ = body.send_data(framed(request), true);
    let answer = answer.await.unwrap();
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
