//! Who may name what: the rules of src/lib.rs, checked on the source.

use std::fs;
use std::path::{Path, PathBuf};

/// A name, and where it may be written: files and folders under src/.
struct Rule {
    name: &'static str,
    /// Tells the name from words that contain it.
    used: fn(&str, &str) -> bool,
    only_in: &'static [&'static str],
}

/// `name::…`, as a path begins; generated code's attributes are not in src/.
fn as_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(i, _)| {
        let before = line[..i].chars().next_back();
        let after = &line[i + name.len()..];
        let begins = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        begins && after.starts_with("::")
    })
}

/// `crate::name`, as a path to a module of ours; in a visibility it is none.
fn as_module(line: &str, name: &str) -> bool {
    line.match_indices(&format!("crate::{name}"))
        .any(|(i, found)| {
            let after = line[i + found.len()..].chars().next();
            let ends = !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
            ends && !line[..i].ends_with("pub(in ")
        })
}

const RULES: &[Rule] = &[
    Rule {
        name: "tonic",
        used: as_crate,
        only_in: &["grpc", "server", "client"],
    },
    Rule {
        name: "tonic_types",
        used: as_crate,
        only_in: &["grpc", "server", "client"],
    },
    Rule {
        name: "sea_orm",
        used: as_crate,
        only_in: &["storage"],
    },
    Rule {
        name: "metrics",
        used: as_crate,
        only_in: &["telemetry"],
    },
    Rule {
        name: "metrics_exporter_prometheus",
        used: as_crate,
        only_in: &["telemetry"],
    },
    Rule {
        name: "axum",
        used: as_crate,
        only_in: &["http"],
    },
    Rule {
        name: "hyper",
        used: as_crate,
        only_in: &["http"],
    },
    Rule {
        name: "hyper_util",
        used: as_crate,
        only_in: &["http"],
    },
    Rule {
        name: "sea_orm_migration",
        used: as_crate,
        only_in: &["storage"],
    },
    Rule {
        name: "sqlx",
        used: as_crate,
        only_in: &["storage"],
    },
    Rule {
        name: "rdkafka",
        used: as_crate,
        only_in: &["kafka"],
    },
    Rule {
        name: "redis",
        used: as_crate,
        only_in: &["redis_link", "cache"],
    },
    // Generated messages stay at the edge.
    Rule {
        name: "proto",
        used: as_module,
        // events: where bodies for Kafka are encoded.
        only_in: &["grpc", "server", "client", "events"],
    },
    // grpc → engine, reads, storage, feed; reads → cache → redis_link; engine, reads, feed,
    // relay → storage → domain; relay, feed → kafka → events; engine → events, redis_link;
    // http → telemetry. Nothing points back.
    Rule {
        name: "grpc",
        used: as_module,
        only_in: &["server"],
    },
    Rule {
        name: "http",
        used: as_module,
        only_in: &["server"],
    },
    Rule {
        name: "server",
        used: as_module,
        only_in: &["cli"],
    },
    Rule {
        name: "engine",
        used: as_module,
        only_in: &["grpc", "server", "engine", "sweeper.rs"],
    },
    Rule {
        name: "feed",
        used: as_module,
        only_in: &["grpc", "server"],
    },
    Rule {
        name: "reads",
        used: as_module,
        only_in: &["grpc", "server"],
    },
    Rule {
        name: "cache",
        used: as_module,
        only_in: &["reads", "server"],
    },
    Rule {
        name: "redis_link",
        used: as_module,
        only_in: &["cache", "engine", "server"],
    },
    Rule {
        name: "relay",
        used: as_module,
        only_in: &["server"],
    },
    Rule {
        name: "kafka",
        used: as_module,
        only_in: &["relay", "feed", "server", "cli"],
    },
    Rule {
        name: "client",
        used: as_module,
        only_in: &["cli", "client"],
    },
    Rule {
        name: "cli",
        used: as_module,
        only_in: &["cli"],
    },
    Rule {
        name: "storage",
        used: as_module,
        // error.rs: a failure of the store is one of the facts a caller is told.
        only_in: &[
            "grpc",
            "server",
            "engine",
            "sweeper.rs",
            "feed",
            "reads",
            "relay",
            "error.rs",
            "cli",
        ],
    },
];

#[test]
fn every_name_stays_in_its_layer() {
    let mut broken = Vec::new();
    for_each_line(|file, number, line| {
        for rule in RULES {
            let allowed = || rule.only_in.iter().any(|place| is_in(file, place));
            if (rule.used)(line, rule.name) && !allowed() {
                broken.push(format!(
                    "src/{}:{number} names {}: {line}",
                    file.display(),
                    rule.name
                ));
            }
        }
    });
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_domain_depends_on_nothing_of_ours_and_reads_no_clock() {
    let mut broken = Vec::new();
    for_each_line(|file, number, line| {
        let depends = ["crate::", "tokio", "SystemTime", "Instant", "async "];
        let depends = depends.iter().any(|name| line.contains(name));
        // A visibility is no dependency.
        let line_is_visibility = line.contains("pub(crate)");
        if is_in(file, "domain") && depends && !line_is_visibility {
            broken.push(format!("src/{}:{number}: {line}", file.display()));
        }
    });
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn plan_is_pure() {
    for_each_line(|file, number, line| {
        if is_in(file, "engine/plan") {
            for name in [
                "async",
                ".await",
                "clock::",
                "tokio",
                "rand::",
                "now_v7",
                "storage::",
            ] {
                assert!(
                    !line.contains(name),
                    "src/{}:{number} names {name}: {line}",
                    file.display()
                );
            }
        }
    });
}

/// Whether a path under src/ is `place` or lies in it.
fn is_in(file: &Path, place: &str) -> bool {
    file.starts_with(place) || file == Path::new(&format!("{place}.rs"))
}

/// Visits every line of code under src/, comments left out.
fn for_each_line(mut visit: impl FnMut(&Path, usize, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = 0;
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let file = path.strip_prefix(&root).unwrap();
            for (i, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                if !line.trim_start().starts_with("//") {
                    visit(file, i + 1, line);
                }
            }
        }
    }
    assert!(files > 20, "the source was not found");
}
