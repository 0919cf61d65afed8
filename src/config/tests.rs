use std::ffi::OsString;
use std::io::Write;

use super::table::{self, Kind};
use super::*;

mod lookalikes;
mod together;

/// A file that is deleted when it goes out of scope.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let variables = variables.iter();
    variables
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag {
        name: name.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    load(&Sources {
        environment: environment(variables),
        ..Sources::default()
    })
}

#[test]
fn the_defaults_are_valid_and_each_has_a_row() {
    let config = Config::default();
    assert_eq!(config.server.listen, "127.0.0.1:50051");
    assert_eq!(config.engine.batch_orders_max, 256);
    assert_eq!(config.server.message_bytes_max, 4 << 20);
    assert!(config.store.migrates_at_start());
    assert_eq!(config.watch.heartbeat(), std::time::Duration::from_secs(15));
    // Extraction refuses a field without a row and a row without a field.
    assert_eq!(table::rows().count(), 62);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults() {
    let file =
        file("[engine]\nbatch_orders_max = 2\nqueue_orders_max = 20\nretry_attempts_max = 5\n");
    let loaded = load(&Sources {
        file: Some(file.path().to_owned()),
        environment: environment(&[
            ("STOCKROOM_ENGINE_BATCH_ORDERS_MAX", "3"),
            ("STOCKROOM_ENGINE_QUEUE_ORDERS_MAX", "30"),
        ]),
        flags: vec![flag("--set", "engine.batch_orders_max", "4")],
    })
    .unwrap();
    let engine = &loaded.config.engine;
    assert_eq!(engine.batch_orders_max, 4);
    assert_eq!(engine.queue_orders_max, 30);
    assert_eq!(engine.retry_attempts_max, 5);
    assert_eq!(engine.queue_lines_max, 65_536);

    let shown = loaded.to_toml();
    let origin_of = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once("  # ").unwrap().1
    };
    assert_eq!(origin_of("batch_orders_max"), "--set");
    assert_eq!(
        origin_of("queue_orders_max"),
        "STOCKROOM_ENGINE_QUEUE_ORDERS_MAX"
    );
    assert_eq!(
        origin_of("retry_attempts_max"),
        file.path().display().to_string()
    );
    assert_eq!(origin_of("queue_lines_max"), "default");
    assert!(loaded.is_default("engine.queue_lines_max"));
    assert!(!loaded.is_default("engine.batch_orders_max"));
}

#[test]
fn everything_wrong_is_reported_at_once_with_key_bound_value_and_origin() {
    let file = file(
        "engine = 5\n[store]\npool_max = 65\nacquire_timeout_ms = \"soon\"\ncolour = 1\n\
         [watch]\nheartbeat_ms = 1.5\n[shop]\nopen = true\n",
    );
    let path = file.path().display().to_string();
    let errors = load(&Sources {
        file: Some(file.path().to_owned()),
        environment: environment(&[
            ("STOCKROOM_ENGINE_BATCH_ORDERS_MAX", "0"),
            ("STOCKROOM_ENGINE_RETRY_BACKOFF_MS", "300"),
            ("STOCKROOM_LOG_FORMAT", "xml"),
            ("STOCKROOM_PORT", "50051"),
            ("STOCKROOM_TEST_STORES", "sqlite"),
            ("PATH", "/bin"),
        ]),
        flags: vec![
            flag("--listen", "server.listen", "50051"),
            flag("--set", "engine.batch_max", "1"),
            flag("--store-url", "store.url", "mysql://u:hunter2@h/d"),
        ],
    })
    .unwrap_err();
    let expected = [
        format!("engine is a section, not a key; engine has queue_orders_max, queue_lines_max, batch_orders_max, batch_lines_max, commits_in_flight_max, retry_attempts_max, retry_backoff_ms, retry_backoff_max_ms, retry_total_ms, settle_timeout_ms ({path})"),
        format!("there is no key shop; the sections are server, http, store, engine, holds, locking, events, redis, cache, watch, log ({path})"),
        format!("there is no key store.colour; store has url, pool_max, acquire_timeout_ms, statement_timeout_ms, migrate_at_start, replicas, replica_pool_max, replica_timeout_ms, replica_lag_max_ms, replica_check_interval_ms ({path})"),
        "there is no key port; the sections are server, http, store, engine, holds, locking, events, redis, cache, watch, log (STOCKROOM_PORT)".into(),
        "there is no key engine.batch_max; engine has queue_orders_max, queue_lines_max, batch_orders_max, batch_lines_max, commits_in_flight_max, retry_attempts_max, retry_backoff_ms, retry_backoff_max_ms, retry_total_ms, settle_timeout_ms (--set)".into(),
        "server.listen must be HOST:PORT or [IPV6]:PORT; it is \"50051\" (--listen)".into(),
        "store.url must be sqlite://FILE or postgres://…, a password percent-encoded; it is \"mysql:***\" (--store-url)".into(),
        format!("store.pool_max must be 1 to 64 connections; it is 65 ({path})"),
        format!("store.acquire_timeout_ms must be 10 to 60000 ms; it is \"soon\" ({path})"),
        "engine.batch_orders_max must be 1 to 16384 orders; it is 0 (STOCKROOM_ENGINE_BATCH_ORDERS_MAX)".into(),
        format!("watch.heartbeat_ms must be 100 to 600000 ms; it is 1.5 ({path})"),
        "log.format must be auto, pretty, json; it is \"xml\" (STOCKROOM_LOG_FORMAT)".into(),
        "engine.retry_backoff_ms = 300 (STOCKROOM_ENGINE_RETRY_BACKOFF_MS) and engine.retry_backoff_max_ms = 250 (default) do not fit: the first wait cannot exceed the longest".into(),
    ];
    assert_eq!(errors.messages(), expected);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_problem_and_quotes_no_secret() {
    let broken = file("[store]\nurl = \"postgres://u:hunter2@h/d\npool_max = 1\n");
    for (path, says) in [
        (broken.path().to_owned(), ", line 2: "),
        (
            "/nonexistent/stockroom.toml".into(),
            "cannot read /nonexistent/stockroom.toml: ",
        ),
    ] {
        let errors = load(&Sources {
            file: Some(path),
            environment: environment(&[("STOCKROOM_STORE_POOL_MAX", "0")]),
            ..Sources::default()
        })
        .unwrap_err();
        assert_eq!(errors.messages().len(), 2);
        assert!(errors.messages()[0].contains(says), "{errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
}

#[test]
fn no_output_shows_the_password() {
    let url = "postgres://u:hunter2@h/d";
    let loaded = from_environment(&[("STOCKROOM_STORE_URL", url)]).unwrap();
    assert_eq!(loaded.config.store.url, url);
    assert!(!loaded.config.store.migrates_at_start());
    assert!(loaded.to_toml().contains("url = \"postgres://u:***@h/d\""));
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
}

#[test]
fn what_config_prints_is_a_file_that_loads_to_the_same() {
    let shown = load(&Sources::default()).unwrap().to_toml();
    let file = file(&shown);
    let again = load(&Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    });
    let again = again.unwrap().to_toml();
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  #").next().unwrap().trim().to_owned())
            .collect()
    };
    assert_eq!(values(&again), values(&shown));
}

#[test]
fn every_number_is_taken_at_its_bounds_and_refused_beyond() {
    for row in table::rows() {
        let Kind::Int { min, max, .. } = row.kind else {
            continue;
        };
        let loads = |number: i128| {
            let mut flags = vec![flag("--set", &row.path(), &number.to_string())];
            // So that no rule about two keys stands in the way of one.
            flags.insert(0, flag("--set", "store.url", "postgres://h/d"));
            flags.insert(0, flag("--set", "store.pool_max", "64"));
            flags.insert(0, flag("--set", "engine.retry_backoff_max_ms", "60000"));
            flags.insert(0, flag("--set", "engine.retry_backoff_ms", "1"));
            flags.insert(0, flag("--set", "store.replica_check_interval_ms", "10"));
            flags.insert(0, flag("--set", "store.replica_lag_max_ms", "3600000"));
            flags.insert(0, flag("--set", "server.concurrent_streams_max", "1000000"));
            flags.insert(0, flag("--set", "watch.streams_per_connection_max", "1"));
            load(&Sources {
                flags,
                ..Sources::default()
            })
            .is_ok()
        };
        for (number, taken) in [
            (i128::from(min), true),
            (i128::from(max), true),
            (i128::from(min) - 1, false),
            (i128::from(max) + 1, false),
        ] {
            assert_eq!(loads(number), taken, "{} = {number}", row.path());
        }
    }
}

#[test]
fn the_port_of_metrics_can_be_switched_off() {
    let listen = |text| from_environment(&[("STOCKROOM_HTTP_LISTEN", text)]);
    let address = |text| {
        listen(text)
            .unwrap()
            .config
            .http
            .address()
            .map(str::to_owned)
    };
    assert_eq!(address("0.0.0.0:9464").as_deref(), Some("0.0.0.0:9464"));
    assert_eq!(address("off"), None);
    assert_eq!(
        listen("on").unwrap_err().messages(),
        ["http.listen must be HOST:PORT, [IPV6]:PORT or off; it is \"on\" (STOCKROOM_HTTP_LISTEN)"]
    );
}

#[test]
fn events_are_off_unless_there_are_brokers() {
    let given = |brokers: &str, feed: &str| {
        let variables = [
            ("STOCKROOM_EVENTS_BROKERS", brokers),
            ("STOCKROOM_EVENTS_FEED", feed),
        ];
        from_environment(&variables).map(|loaded| loaded.config.events)
    };
    let events = Config::default().events;
    assert_eq!((events.brokers(), events.feeds()), (None, false));
    let events = given("kafka-1:9092,kafka-2:9092", "true").unwrap();
    assert_eq!(events.brokers(), Some("kafka-1:9092,kafka-2:9092"));
    assert!(events.feeds());
    assert!(!given("kafka-1:9092", "false").unwrap().feeds());
    for none in ["", "kafka-1", "kafka-1:9092,", "kafka-1:port"] {
        assert!(given(none, "true").is_err(), "{none}");
    }
}

#[test]
fn a_topic_prefix_is_what_kafka_takes_in_names() {
    let given = |prefix: &str| from_environment(&[("STOCKROOM_EVENTS_TOPIC_PREFIX", prefix)]);
    for good in ["", "shop.", "Shop_1-"] {
        assert_eq!(given(good).unwrap().config.events.topic_prefix, good);
    }
    for bad in ["shop/", "shop ", &"s".repeat(129)] {
        assert!(given(bad).is_err(), "{bad}");
    }
}

#[test]
fn migrating_at_start_is_a_word_or_a_boolean() {
    for text in ["true", "\"true\""] {
        let file = file(&format!(
            "[store]\nmigrate_at_start = {text}\nurl = \"postgres://h/d\""
        ));
        let file = Some(file.path().to_owned());
        let loaded = load(&Sources {
            file,
            ..Sources::default()
        })
        .unwrap();
        assert!(loaded.config.store.migrates_at_start());
    }
    let loaded = from_environment(&[("STOCKROOM_STORE_MIGRATE_AT_START", "false")]).unwrap();
    assert!(!loaded.config.store.migrates_at_start());
}

#[test]
fn the_table_has_a_line_for_each_key() {
    let table = markdown_table();
    assert_eq!(table.lines().count(), 2 + table::rows().count());
    assert!(table.contains(
        "| `engine.batch_orders_max` | `256` | orders | 1 to 16384 | \
         Most writes of one commit; 1 switches batching off. |"
    ));
    assert!(
        table.lines().all(|line| line.matches('|').count() == 6),
        "{table}"
    );
}
