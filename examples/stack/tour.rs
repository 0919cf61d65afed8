//! What is printed when everything runs: where it is, and what to try.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::Stack;

/// Prints addresses, and commands in an order in which each of them works. A test runs
/// those that begin with `grpcurl`, and waits for the last line.
pub(crate) fn print(stack: &Stack, program: &Path, took: Duration) {
    let [first, second] = stack.instances.each_ref().map(|it| it.grpc);
    let front = stack
        .nginx
        .as_ref()
        .map_or(first, crate::nginx::Server::address);
    let stockroom = program.display();
    println!("\nWHERE (after {:.1} s)\n", took.as_secs_f64());
    if stack.nginx.is_some() {
        println!("  nginx        {front}, balances by call");
    }
    for it in &stack.instances {
        let log = it.folder.path().join("log");
        println!(
            "  instance     {}, http://{}/metrics, {}",
            it.grpc,
            it.http,
            log.display()
        );
    }
    println!("  PostgreSQL   {}", stack.database.url);
    println!("  replica      {}", stack.database.url_on(&stack.replica));
    if let Some(redis) = &stack.redis {
        println!("  Redis        {}", redis.url());
    }
    if let Some(kafka) = &stack.kafka {
        println!("  Kafka        {}", kafka.brokers());
    }
    println!("\nIN OTHER TERMINALS\n");
    println!("  {stockroom} watch --addr http://{second}");
    if let Some(kafka) = &stack.kafka {
        println!(
            "  {stockroom} events --from-beginning --set events.brokers={}",
            kafka.brokers()
        );
    }
    calls(front, second);
    println!("\nCtrl-C stops everything.");
}

/// The instances are one shop: `second` knows what `front` did.
fn calls(front: SocketAddr, second: SocketAddr) {
    println!("\nA TOUR\n");
    let inventory = "stockroom.v1.InventoryService";
    let orders = "stockroom.v1.OrderService";
    call(
        front,
        r#"{"products": [{"sku": "85123A", "low_stock_threshold": 10}]}"#,
        inventory,
        "PutProducts",
    );
    call(
        front,
        r#"{"request_id": "delivery-1", "sku": "85123A", "delta": 100, "kind": "MOVEMENT_KIND_RECEIVED"}"#,
        inventory,
        "AdjustStock",
    );
    call(
        front,
        r#"{"request_id": "order-1", "lines": [{"sku": "85123A", "quantity": 6}]}"#,
        orders,
        "CreateOrder",
    );
    println!("\n  # The same request again, wherever it goes: the same order, replayed.");
    call(
        second,
        r#"{"request_id": "order-1", "lines": [{"sku": "85123A", "quantity": 6}]}"#,
        orders,
        "CreateOrder",
    );
    println!(
        "\n  # From any source that has version 2, cache or replica, from any at all, and from the \
         primary: servedFrom says which."
    );
    call(
        front,
        r#"{"sku": "85123A", "min_version": 2}"#,
        inventory,
        "GetStock",
    );
    call(
        second,
        r#"{"sku": "85123A", "min_version": 0}"#,
        inventory,
        "GetStock",
    );
    call(front, r#"{"sku": "85123A"}"#, inventory, "GetStock");
}

fn call(address: SocketAddr, body: &str, service: &str, method: &str) {
    println!("  grpcurl -plaintext -d '{body}' {address} {service}/{method}");
}
