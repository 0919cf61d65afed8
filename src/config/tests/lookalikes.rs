//! What looks like a key or a value of ours, and is none.

use super::*;

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_left_alone() {
    from_environment(&[
        ("STOCKROOM_SERVICE_HOST", "10.0.0.1"),
        ("STOCKROOM_SERVICE_PORT_GRPC", "50051"),
        ("STOCKROOM_PORT", "tcp://10.0.0.1:50051"),
        ("STOCKROOM_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("STOCKROOM_DB_PORT", "tcp://10.0.0.2:5432"),
    ])
    .unwrap();
}

#[test]
fn variables_of_this_repositorys_tests_and_scripts_are_left_alone() {
    from_environment(&[
        ("STOCKROOM_TEST_STORES", "sqlite"),
        ("STOCKROOM_CHAOS_ROUNDS", "30"),
        ("STOCKROOM_CHAOS_SEED", "7"),
        ("STOCKROOM_IMAGE", "stockroom"),
        ("STOCKROOM_IMAGE_BINARY", "target/release/stockroom"),
    ])
    .unwrap();
    // What only begins like one of them is a key that is misspelt.
    from_environment(&[("STOCKROOM_IMAGES", "1")]).unwrap_err();
}

#[test]
fn an_ipv6_host_is_in_brackets_so_that_a_url_can_be_made_of_it() {
    let given = |key: &str, text: &str| {
        load(&Sources {
            flags: vec![flag("--set", key, text)],
            ..Sources::default()
        })
    };
    for key in ["server.listen", "http.listen", "events.brokers"] {
        for good in ["[::1]:50051", "[::]:0", "localhost:50051", "10.0.0.1:50051"] {
            given(key, good).unwrap();
        }
        for bad in [
            ":::50051",
            "::1:50051",
            "[::1:50051",
            "::1]:50051",
            "[::1]",
            ":1",
        ] {
            let errors = given(key, bad).unwrap_err();
            assert!(errors.messages()[0].contains(key), "{errors}");
        }
    }
    for bad in [
        "PLAINTEXT://h:9092",
        "h:9092,PLAINTEXT://h:9092",
        "h:9092,::1:9092",
    ] {
        let errors = given("events.brokers", bad).unwrap_err();
        let expected =
            format!("events.brokers must be HOST:PORT,… or off; it is \"{bad}\" (--set)");
        assert_eq!(errors.messages(), [expected]);
    }
}

#[test]
fn a_word_that_is_no_level_is_no_filter_of_the_log() {
    let given = |filter: &str| from_environment(&[("STOCKROOM_LOG_FILTER", filter)]);
    for good in [
        "info",
        "WARN",
        "off",
        "info,stockroom=debug",
        "stockroom::engine=trace,warn",
        "info,[commit]=debug",
    ] {
        assert_eq!(given(good).unwrap().config.log.filter, good);
    }
    for bad in [
        "warning",
        "stockroom",
        "info,stockroom",
        "info, debug",
        " info",
        ",",
        "info,",
        "",
        "a=loud",
    ] {
        let expected = format!(
            "log.filter must be off, error, warn, info, debug, trace, TARGET=LEVEL, or a list of \
             these without spaces; it is \"{bad}\" (STOCKROOM_LOG_FILTER)"
        );
        assert_eq!(given(bad).unwrap_err().messages(), [expected]);
    }
}
