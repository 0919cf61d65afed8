//! `deploy/postgres/replica.sh`.

use super::{Ran, Sandbox};

/// Writes what a backup begins with.
const BEGIN: &str = "echo label >\"$PGDATA/backup_label\"; echo 17 >\"$PGDATA/PG_VERSION\"";

/// And what it ends with.
const END: &str = "mkdir \"$PGDATA/global\"; echo >\"$PGDATA/global/pg_control\"";

/// A sandbox with an empty folder for the replica's data.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("data")).unwrap();
    let first_start = "ls \"$PGDATA\"; rm -f \"$PGDATA/backup_label\"";
    sandbox.stub("postgres", first_start);
    sandbox
}

fn start(sandbox: &Sandbox) -> Ran {
    let data = sandbox.path("data").display().to_string();
    let environment = [("PGDATA", data.as_str()), ("PGUSER", "stockroom")];
    sandbox.run("sh", &["deploy/postgres/replica.sh"], &environment)
}

#[test]
fn a_replica_whose_backup_was_killed_begins_with_another_and_then_with_none() {
    let sandbox = sandbox();
    // With the container, and so with the script.
    let killed = format!("{BEGIN}; touch \"$PGDATA/half\"; kill -9 $PPID; kill -9 $$");
    sandbox.stub("pg_basebackup", &killed);
    assert!(!start(&sandbox).succeeded);
    assert!(sandbox.path("data/PG_VERSION").exists());
    sandbox.stub("pg_basebackup", &format!("{BEGIN}; {END}"));
    for _ in 0..2 {
        let ran = start(&sandbox);
        assert!(ran.succeeded, "{}", ran.said);
        assert!(ran.said.contains("PG_VERSION"), "{}", ran.said);
        assert!(!ran.said.contains("half"), "{}", ran.said);
    }
    let calls = sandbox.calls();
    let programs: Vec<_> = calls
        .lines()
        .filter_map(|it| it.split(' ').next())
        .collect();
    assert_eq!(
        programs,
        ["pg_basebackup", "pg_basebackup", "postgres", "postgres"]
    );
}

#[test]
fn data_that_a_server_has_run_on_stays() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("data/global")).unwrap();
    std::fs::write(sandbox.path("data/global/pg_control"), "").unwrap();
    sandbox.stub("pg_basebackup", BEGIN);
    let ran = start(&sandbox);
    assert!(ran.succeeded && ran.said.contains("global"), "{}", ran.said);
    assert!(!sandbox.calls().contains("pg_basebackup"));
}
