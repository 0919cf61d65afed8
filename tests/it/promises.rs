//! docs/promises.md names tests that there are.

use std::process::Command;

#[test]
fn every_promise_names_the_tests_that_hold_it() {
    let tests = every_test();
    let page = include_str!("../../docs/promises.md");
    let (_, rows) = page.split_once("|---|---|\n").unwrap();
    for row in rows.lines() {
        let (promise, held_by) = row.trim_matches('|').split_once(" | ").unwrap();
        let names = in_backticks(held_by).filter(|name| is_path(name));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "no test holds: {promise}");
        let missing = missing(&names, &tests);
        assert!(missing.is_empty(), "there is no test {missing:?}");
    }
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    let tests = ["flushed::sqlite::it_is", "guards::postgres::atomic::sold"];
    let tests = tests.map(str::to_owned);
    for there in [
        "flushed",
        "flushed::it_is",
        "flushed::sqlite::it_is",
        "guards::…::sold",
        "guards::atomic",
    ] {
        assert_eq!(missing(&[there], &tests), [""; 0]);
    }
    for invented in [
        "flush",
        "flushed::it",
        "it_is",
        "guards::sold",
        "guards::…::lost",
        "flushed::postgres::it_is",
        "flushed::it_is::at_all",
    ] {
        assert_eq!(missing(&[invented], &tests), [invented]);
    }
}

/// The names of all tests of this binary, those that macros make among them.
fn every_test() -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let listed = Command::new(this).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}

/// Those names that no test has, nor a module with tests.
fn missing<'a>(names: &[&'a str], tests: &[String]) -> Vec<&'a str> {
    let tests: Vec<Vec<&str>> = tests
        .iter()
        .map(|test| test.split("::").collect())
        .collect();
    let is_missing = |name: &&str| {
        let name: Vec<&str> = name.split("::").collect();
        !tests.iter().any(|test| leads_to(&name, test))
    };
    names.iter().copied().filter(is_missing).collect()
}

/// Whether `name` is the path of `test` or of a module around it. It need not say the module of
/// the store, and `…` stands for modules.
fn leads_to(name: &[&str], test: &[&str]) -> bool {
    match (name, test) {
        ([], _) => true,
        (_, []) => false,
        (["…", rest @ ..], [_, inner @ ..]) => leads_to(rest, inner) || leads_to(name, inner),
        ([first, rest @ ..], [module, inner @ ..]) => {
            (first == module && leads_to(rest, inner))
                || (["sqlite", "postgres"].contains(module) && leads_to(name, inner))
        }
    }
}

/// Whether it may be the path of a test: commands and keys are none.
fn is_path(name: &str) -> bool {
    name.split("::").all(|part| {
        let is_of_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        part == "…" || (!part.is_empty() && part.chars().all(is_of_word))
    })
}

/// What stands between backticks in a text.
pub(crate) fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
