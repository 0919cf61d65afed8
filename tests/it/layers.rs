//! Who may name what: the rules of src/lib.rs and docs/architecture.md, checked on the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::promises::in_backticks;

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
    // Nothing points back.
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
        name: "events",
        used: as_module,
        only_in: &["engine", "feed", "relay", "kafka", "events", "cli"],
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
fn the_table_of_parts_says_what_each_may_name() {
    let page = include_str!("../../docs/architecture.md");
    let (_, table) = page.split_once("| part | owns | may name |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        for part in in_backticks(cells[0]) {
            let names = cells.get(2).into_iter().flat_map(|cell| in_backticks(cell));
            told.insert(part.trim_end_matches('/'), names.collect());
        }
    }
    let parts = told.clone().into_keys();
    let mut may_name: BTreeMap<_, _> = parts.map(|part| (part, BTreeSet::new())).collect();
    for rule in RULES {
        for place in rule.only_in.iter().filter(|place| **place != rule.name) {
            may_name.entry(place).or_default().insert(rule.name);
        }
    }
    assert_eq!(told, may_name);
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

#[test]
fn the_edge_makes_status_codes_in_one_place() {
    let (mut elsewhere, mut there) = (Vec::new(), 0);
    for_each_line(|file, number, line| {
        if !is_in(file, "grpc") || !makes_a_status(line) {
            return;
        }
        if is_in(file, "grpc/status.rs") {
            there += 1;
        } else {
            elsewhere.push(format!("src/{}:{number}: {line}", file.display()));
        }
    });
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    assert!(there > 5, "statuses are made under another name");
}

/// Whether a line names a status code, or a function that makes a status of one. To turn an
/// error into a status, to pass one on and to look at its code is no such thing.
fn makes_a_status(line: &str) -> bool {
    let after = |name: &str| -> Vec<&str> {
        let found = line.match_indices(name).filter(|(i, _)| {
            let before = line[..*i].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        found.map(|(i, found)| &line[i + found.len()..]).collect()
    };
    let passes_on = ["from", "into_", "code"];
    let made = |rest: &&str| {
        let is_function = rest.starts_with(|c: char| c.is_ascii_lowercase());
        is_function && !passes_on.iter().any(|name| rest.starts_with(name))
    };
    after("Status::").iter().any(made) || after("Code::").iter().any(|rest| !rest.contains("=>"))
}

#[test]
fn statuses_are_seen_in_every_form() {
    for line in [
        "return Err(Status::internal(\"no\"));",
        "let status = result.map_err(tonic::Status::unknown)?;",
        "Status::new(Code::Internal, \"no\")",
        "Status::with_details(code, message, details)",
        "Reason::Internal => Code::Internal,",
    ] {
        assert!(makes_a_status(line), "{line}");
    }
    for line in [
        "use tonic::{Code, Status};",
        "error.map_err(Status::from)",
        "answer.map_or_else(Status::into_http, streaming)",
        "Code::Unavailable => \"UNAVAILABLE\",",
        "ServingStatus::serving()",
    ] {
        assert!(!makes_a_status(line), "{line}");
    }
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
