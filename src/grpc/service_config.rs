//! Holds the service config that is published for callers against the API and
//! the errors that it is about. The reasons are in proto/README.md.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::Value;
use tonic::{Code, Status};

use crate::error::Error;
use crate::proto::FILE_DESCRIPTOR_SET;

const CONFIG: &str = include_str!("../../proto/stockroom/v1/service_config.json");

/// Attempts that libraries make at most, whatever a config says (gRFC A6).
const ATTEMPTS_MAX: u64 = 5;

/// Methods without a config, for a reason.
const LEFT_OUT: [&str; 1] = ["stockroom.v1.InventoryService/WatchStock"];

/// What changes stock or products, and so goes through the queue.
const WRITES: [&str; 10] = [
    "CreateOrder",
    "ConfirmOrder",
    "CancelOrder",
    "ExtendHold",
    "AdjustStock",
    "BatchAdjustStock",
    "CountStock",
    "TransferStock",
    "PutProducts",
    "DeleteProduct",
];

/// The `methodConfig` of each method that is named, once each.
fn methods(config: &Value) -> HashMap<String, Value> {
    let mut methods = HashMap::new();
    for method_config in config["methodConfig"].as_array().unwrap() {
        for name in method_config["name"].as_array().unwrap() {
            let (service, method) = (&name["service"], &name["method"]);
            let name = format!("{}/{}", service.as_str().unwrap(), method.as_str().unwrap());
            let before = methods.insert(name.clone(), method_config.clone());
            assert!(before.is_none(), "{name} is named twice");
        }
    }
    methods
}

/// A duration in the JSON form of protobuf: `0.1s`.
fn duration(value: &Value) -> Duration {
    let text = value.as_str().unwrap();
    let seconds = text
        .strip_suffix('s')
        .unwrap_or_else(|| panic!("{text} has no unit"));
    Duration::from_secs_f64(seconds.parse().unwrap())
}

fn codes(method_config: &Value) -> BTreeSet<&str> {
    let codes = method_config["retryPolicy"]["retryableStatusCodes"].as_array();
    codes
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect()
}

fn config() -> Value {
    serde_json::from_str(CONFIG).unwrap()
}

#[test]
fn every_method_has_a_config_or_is_left_out_for_a_reason() {
    let descriptors = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut there = BTreeSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            let methods = service.method.iter();
            there.extend(methods.map(|method| format!("{service_name}/{}", method.name())));
        }
    }
    let named = methods(&config()).into_keys();
    let covered: BTreeSet<_> = named.chain(LEFT_OUT.map(str::to_owned)).collect();
    assert_eq!(covered, there);
}

#[test]
fn the_config_keeps_the_bounds_of_its_format() {
    let config = config();
    for (name, method) in methods(&config) {
        let policy = &method["retryPolicy"];
        let attempts = policy["maxAttempts"].as_u64().unwrap();
        assert!((2..=ATTEMPTS_MAX).contains(&attempts), "{name}: {attempts}");
        let (initial, max) = (
            duration(&policy["initialBackoff"]),
            duration(&policy["maxBackoff"]),
        );
        assert!(Duration::ZERO < initial && initial <= max, "{name}");
        assert!(
            policy["backoffMultiplier"].as_f64().unwrap() > 0.0,
            "{name}"
        );
        assert!(
            duration(&method["timeout"]) > max * attempts as u32 / 2,
            "{name}"
        );
        assert!(!codes(&method).is_empty(), "{name}");
    }
    let throttling = &config["retryThrottling"];
    let tokens = throttling["maxTokens"].as_f64().unwrap();
    assert!(tokens > 0.0 && tokens <= 1_000.0);
    let ratio = throttling["tokenRatio"].as_f64().unwrap();
    assert!(ratio > 0.0);
    // A failure takes a token, a success gives `ratio`, and retries stop at half of the
    // tokens (gRFC A6): what proto/README.md says of both.
    assert_eq!(tokens / 2.0, 50.0);
    assert!((ratio / (1.0 + ratio) - 1.0 / 11.0).abs() < 1e-9);
}

#[test]
fn what_is_retried_is_what_the_catalogue_calls_retryable() {
    let refused = [
        Error::StockContention { attempts: 1 },
        Error::Overloaded("the queue is full"),
    ];
    let away = [Error::StoreUnavailable(None), Error::Draining];
    let definite = [
        Error::InvalidRequest(Vec::new()),
        Error::SkuNotFound(Vec::new()),
        Error::OrderNotFound(String::new()),
        Error::InsufficientStock(Vec::new()),
    ];
    assert!(definite.iter().all(|error| !error.retryable()));
    let definite: BTreeSet<_> = definite.map(|error| name(&Status::from(error))).into();
    assert!(refused.iter().chain(&away).all(Error::retryable));
    let away: BTreeSet<_> = away.map(|error| name(&Status::from(error))).into();
    let refused: BTreeSet<_> = refused
        .map(|error| {
            let status = Status::from(error);
            // The server's word on when, which libraries obey.
            assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
            name(&status)
        })
        .into();
    for (method, config) in methods(&config()) {
        let is_write = WRITES
            .iter()
            .any(|write| method.ends_with(&format!("/{write}")));
        let expected = if is_write {
            &away | &refused
        } else {
            away.clone()
        };
        assert_eq!(codes(&config), expected, "{method}");
        assert!(codes(&config).is_disjoint(&definite), "{method}");
    }
}

fn name(status: &Status) -> &'static str {
    match status.code() {
        Code::Unavailable => "UNAVAILABLE",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        _ => "something definite",
    }
}
