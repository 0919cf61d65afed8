//! Values that do not fit each other, and databases and servers that cannot be.

use super::*;

#[test]
fn watches_leave_room_for_calls_on_their_connection() {
    let few = ("STOCKROOM_SERVER_CONCURRENT_STREAMS_MAX", "1000");
    let errors = from_environment(&[few]).unwrap_err();
    let [error] = errors.messages() else {
        panic!("{errors}")
    };
    assert!(
        error.contains("watch.streams_per_connection_max"),
        "{error}"
    );
    let fewer = ("STOCKROOM_WATCH_STREAMS_PER_CONNECTION_MAX", "999");
    from_environment(&[few, fewer]).unwrap();
}

#[test]
fn a_sqlite_store_takes_one_commit_at_a_time() {
    let two = ("STOCKROOM_ENGINE_COMMITS_IN_FLIGHT_MAX", "2");
    let errors = from_environment(&[two]).unwrap_err();
    assert!(errors.messages()[0].ends_with("SQLite has one writer, so it takes 0 or 1"));
    from_environment(&[two, ("STOCKROOM_STORE_URL", "postgres://h/d")]).unwrap();
}

#[test]
fn a_sqlite_store_takes_optimistic_alone() {
    let postgres = ("STOCKROOM_STORE_URL", "postgres://h/d");
    for name in ["pessimistic", "atomic"] {
        let strategy = ("STOCKROOM_LOCKING_STRATEGY", name);
        let errors = from_environment(&[strategy]).unwrap_err();
        let expected = format!(
            "locking.strategy = \"{name}\" (STOCKROOM_LOCKING_STRATEGY) and store.url = \
             \"sqlite://stockroom.db\" (default) do not fit: SQLite has one writer and nobody \
             to lock out, so it takes optimistic"
        );
        assert_eq!(errors.messages(), [expected]);
        from_environment(&[strategy, postgres]).unwrap();
    }
    from_environment(&[("STOCKROOM_LOCKING_STRATEGY", "optimistic")]).unwrap();
}

#[test]
fn replicas_are_a_list_in_a_file_and_separated_by_commas_elsewhere() {
    let urls = ["postgres://u:hunter2@a/d", "postgres://u:hunter2@b/d"];
    let file = file(&format!(
        "[store]\nurl = \"postgres://h/d\"\nreplicas = {urls:?}\n"
    ));
    let of_file = load(&Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    })
    .unwrap();
    let of_environment = from_environment(&[
        ("STOCKROOM_STORE_URL", "postgres://h/d"),
        ("STOCKROOM_STORE_REPLICAS", &urls.join(", ")),
    ])
    .unwrap();
    for loaded in [&of_file, &of_environment] {
        assert_eq!(loaded.config.store.replicas, urls);
        let shown = loaded.to_toml();
        let expected = "replicas = [\"postgres://u:***@a/d\", \"postgres://u:***@b/d\"]";
        assert!(shown.contains(expected), "{shown}");
        assert!(!format!("{:?}", loaded.config).contains("hunter2"));
    }
    let none = from_environment(&[("STOCKROOM_STORE_REPLICAS", "")]).unwrap();
    assert!(none.config.store.replicas.is_empty());
    assert!(none.to_toml().contains("replicas = []"));
}

#[test]
fn replicas_that_cannot_be_are_refused_without_their_passwords() {
    let many: Vec<String> = (0..17)
        .map(|i| format!("postgres://u:hunter2@{i}/d"))
        .collect();
    let postgres = ("STOCKROOM_STORE_URL", "postgres://h/d");
    for (replicas, says) in [
        (
            "postgres://u:hunter2@a/d,mysql://u:hunter2@b/d",
            "store.replicas must be up to 16 of postgres://…, a password percent-encoded, each once; it is \
             [\"postgres://u:***@a/d\", \"mysql:***\"] (STOCKROOM_STORE_REPLICAS)",
        ),
        (
            "postgres://u:hunter2@a/d,postgres://u:hunter2@a/d",
            "store.replicas must be up to 16 of postgres://…, a password percent-encoded, each once; it is \
             [\"postgres://u:***@a/d\", \"postgres://u:***@a/d\"] (STOCKROOM_STORE_REPLICAS)",
        ),
        (&many.join(","), "store.replicas must be up to 16 of "),
    ] {
        let errors = from_environment(&[postgres, ("STOCKROOM_STORE_REPLICAS", replicas)]);
        let errors = errors.unwrap_err();
        assert_eq!(errors.messages().len(), 1, "{errors}");
        assert!(errors.messages()[0].starts_with(says), "{errors}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
    from_environment(&[
        postgres,
        ("STOCKROOM_STORE_REPLICAS", &many[..16].join(",")),
    ])
    .unwrap();
    let of_sqlite = from_environment(&[("STOCKROOM_STORE_REPLICAS", &many[0])]).unwrap_err();
    assert!(of_sqlite.messages()[0].ends_with("SQLite has no replicas"));
    assert!(!of_sqlite.to_string().contains("hunter2"), "{of_sqlite}");
    let coarse = from_environment(&[("STOCKROOM_STORE_REPLICA_LAG_MAX_MS", "1999")]).unwrap_err();
    assert!(coarse.messages()[0].ends_with("two of them at least"));
}

#[test]
fn a_store_in_memory_is_refused() {
    for url in [
        "sqlite::memory:",
        "sqlite://",
        "sqlite:file?mode=memory",
        "postgres:h",
        "",
    ] {
        assert!(
            from_environment(&[("STOCKROOM_STORE_URL", url)]).is_err(),
            "{url}"
        );
    }
}

#[test]
fn what_needs_a_redis_is_refused_without_one_and_no_password_is_shown() {
    let postgres = ("STOCKROOM_STORE_URL", "postgres://h/d");
    let locks = ("STOCKROOM_LOCKING_STRATEGY", "redis_lock");
    let refusals = ("STOCKROOM_CACHE_FAST_REFUSAL", "true");
    let redis = (
        "STOCKROOM_REDIS_URLS",
        "redis://:hunter2@h,redis://:hunter2@i",
    );
    let errors = from_environment(&[postgres, locks, refusals]).unwrap_err();
    let [lock, refusal] = errors.messages() else {
        panic!("{errors}")
    };
    assert!(lock.ends_with("the locks are kept in Redis, and none is named"));
    assert!(refusal.ends_with("there is no cache to refuse on"));
    let off = ("STOCKROOM_CACHE_LEVELS", "off");
    from_environment(&[postgres, redis, refusals, off]).unwrap_err();
    let on_sqlite = from_environment(&[redis, locks]).unwrap_err();
    assert!(on_sqlite.messages()[0].ends_with("so it takes optimistic"));
    let loaded = from_environment(&[postgres, locks, refusals, redis]).unwrap();
    assert!(loaded.config.redis.is_cluster() && loaded.config.cache.refuses_fast());
    let shown = format!("{}{:?}", loaded.to_toml(), loaded.config);
    assert!(!shown.contains("hunter2"), "{shown}");
    let wrong = from_environment(&[("STOCKROOM_REDIS_URLS", "rediss://:hunter2@h")]);
    assert!(!format!("{}", wrong.unwrap_err()).contains("hunter2"));
}
