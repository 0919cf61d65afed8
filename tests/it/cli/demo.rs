//! The demo, which needs nothing and leaves everything alone.

use crate::process::{run, stdout};

#[test]
fn the_demo_keeps_to_itself_whatever_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody is there, and SQLite does not take the strategy.
    let configured = [
        "store.url=postgres://nobody@127.0.0.1:1/none",
        "locking.strategy=atomic",
        "events.brokers=127.0.0.1:1",
        "redis.urls=redis://127.0.0.1:1",
    ];
    let mut arguments = vec!["demo", "--exit", "--port", "0"];
    arguments.extend(configured.into_iter().flat_map(|set| ["--set", set]));
    let output = run(folder.path(), &arguments);
    let shown = stdout(&output);
    assert!(shown.contains("Everything adds up"), "{shown}");
    // What it would warn of if it had looked for Redis, or kept events for Kafka.
    let said = String::from_utf8_lossy(&output.stderr);
    for word in ["Redis", "outbox"] {
        assert!(!said.contains(word), "{said}");
    }
}
