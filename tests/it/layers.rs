//! Who may name what: the rules of src/lib.rs, checked on the source.

use std::collections::BTreeSet;
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

/// `crate::name`, as a path to a module of ours, or `name` within `crate::{…}`; in a
/// visibility it is none.
fn as_module(line: &str, name: &str) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let path = format!("crate::{name}");
    let alone = line.match_indices(&path);
    let mut alone = alone.filter(|(i, found)| {
        let after = line[i + found.len()..].chars().next();
        !after.is_some_and(is_of_word) && !line[..*i].ends_with("pub(in ")
    });
    let mut groups = line.split(GROUP).skip(1);
    alone.next().is_some()
        || groups.any(|group| group.split(|c| !is_of_word(c)).any(|word| word == name))
}

/// What several paths of ours begin with.
const GROUP: &str = "crate::{";

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
    let mut used = BTreeSet::new();
    for_each_line(|file, number, line| {
        // The rest of a group that goes on could not be told from other lines.
        let is_whole = line.matches(GROUP).count() <= line.matches('}').count();
        assert!(is_whole, "src/{}:{number}: {line}", file.display());
        for rule in RULES.iter().filter(|rule| (rule.used)(line, rule.name)) {
            let mut places = rule.only_in.iter().filter(|place| is_in(file, place));
            if let Some(place) = places.next() {
                used.insert((rule.name, *place));
            } else {
                broken.push(format!(
                    "src/{}:{number} names {}: {line}",
                    file.display(),
                    rule.name
                ));
            }
        }
    });
    assert!(broken.is_empty(), "{broken:#?}");
    // A rule about what has another name by now would hold for ever.
    for rule in RULES {
        let idle = rule
            .only_in
            .iter()
            .filter(|place| !used.contains(&(rule.name, **place)));
        let idle: Vec<_> = idle.collect();
        assert!(idle.is_empty(), "{} is not named in {idle:?}", rule.name);
    }
}

#[test]
fn names_are_seen_in_every_form() {
    for line in [
        "use crate::feed::Feed;",
        "use crate::{engine, feed};",
        "use crate::{engine::{Done, Engine}, feed::Feed};",
        "let feed = crate::feed::start();",
    ] {
        assert!(as_module(line, "feed"), "{line}");
    }
    for line in [
        "use crate::feedback;",
        "pub(in crate::feed) fn f() {}",
        "use crate::{engine};",
    ] {
        assert!(!as_module(line, "feed"), "{line}");
    }
}

#[test]
fn the_domain_depends_on_nothing_of_ours_and_reads_no_clock() {
    let (mut broken, mut lines) = (Vec::new(), 0);
    for_each_line(|file, number, line| {
        lines += usize::from(is_in(file, "domain"));
        let depends = ["crate::", "tokio", "SystemTime", "Instant", "async "];
        let depends = depends.iter().any(|name| line.contains(name));
        // A visibility is no dependency.
        let line_is_visibility = line.contains("pub(crate)");
        if is_in(file, "domain") && depends && !line_is_visibility {
            broken.push(format!("src/{}:{number}: {line}", file.display()));
        }
    });
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(lines > 100, "there is no domain");
}

#[test]
fn plan_is_pure() {
    let mut lines = 0;
    for_each_line(|file, number, line| {
        if is_in(file, "engine/plan") {
            lines += 1;
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
    assert!(lines > 100, "there is no plan");
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
