//! The tests: one binary, a module for each behaviour, names that are claims.
//!
//! `cargo test` runs them on SQLite; with `STOCKROOM_TEST_STORES=sqlite,postgres`
//! they run on a private PostgreSQL as well, which `make test` sets up.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

// What the tests stand on.
#[macro_use]
mod fixture;
mod api;
mod chaos;
mod holding;
mod holds;
mod process;
mod proxy;
mod recorder;
mod scrape;
#[path = "../servers/mod.rs"]
mod servers;
mod watching;

// What they claim.
mod adjusting;
mod backorders;
mod backup;
mod books;
mod cache;
mod catalogue;
mod cli;
mod client;
mod connections;
mod crash;
mod deadlines;
mod deleting;
mod deploy;
mod errors;
mod events;
mod every_change;
mod faults;
mod flushed;
mod full_disk;
mod guards;
mod health;
mod hints;
mod histories;
mod instances;
mod interference;
mod layers;
mod life_of_an_order;
mod lifecycle;
mod logs;
mod masks;
mod measuring;
mod metrics;
mod movements;
mod nginx;
mod order_list;
mod orders;
mod outage;
mod plan_model;
mod plans;
mod pressure;
mod products;
mod promises;
mod protos;
mod putting;
mod queueing;
mod races;
mod readme;
mod reads;
mod replicas;
mod requests;
mod round_trips;
mod scripts;
mod selectors;
mod stack;
mod stock;
mod validate;
mod watch;
mod watch_bounds;
mod watch_stalled;
mod watch_unstocked;
