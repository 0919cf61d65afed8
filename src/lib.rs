//! Stockroom: an inventory and order service.
//!
//! To call one, begin with [`client`], whose first page is an example. The rest of this
//! crate is the server and the program `stockroom`:
//!
//! ```text
//! client ─gRPC─▶ grpc ─▶ engine ─queue─▶ batch ─▶ plan ─▶ commit ─▶ storage
//!    ▲                     └── reply after COMMIT ◀────────┘            │
//! watchers ◀─── grpc::watch ◀── feed ◀── on_commit · re-read ◀──────────┤
//!                                └───── kafka ◀── relay ◀── outbox ◀────┘
//! ```
//!
//! - One writer of stock: every change of a level goes through [`engine`].
//! - `plan` is pure; time and ids enter it with what is planned.
//! - `tonic` is named in `grpc`, `server` and `client` alone, `sea_orm` in `storage` alone,
//!   `rdkafka` in [`kafka`] alone, `redis` in `redis_link` and `cache` alone.
//! - Dependencies point one way: `grpc → engine, reads, storage, feed`; `reads → cache → redis_link`;
//!   `engine, reads, feed, relay → storage → domain`; `relay, feed → kafka → events`;
//!   `engine → events, redis_link`; `http → telemetry`. [`server`] ties them together.

pub mod domain;

mod accept;
mod clock;
pub mod config;
pub mod error;
mod gather;
mod lock;
#[cfg(test)]
mod samples;
mod tasks;
pub mod telemetry;

pub mod events;

pub mod storage;

pub mod kafka;
mod redis_link;
mod relay;

pub mod engine;
mod sweeper;

mod feed;

mod cache;
mod reads;

mod grpc;
mod http;
pub mod proto;
pub mod server;

pub mod cli;
pub mod client;
