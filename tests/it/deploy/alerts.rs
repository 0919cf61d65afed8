//! The alert rules for Prometheus, as far as they can be checked without one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use stockroom::config::Config;
use stockroom::telemetry::Counters;

use super::read;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let file: File = serde_norway::from_str(&read("prometheus/alerts.yaml")).unwrap();
    let [group] = <[Group; 1]>::try_from(file.groups).ok().unwrap();
    assert_eq!(group.name, "stockroom");
    group.rules
}

/// What a server with one replica shows, by the name of the metric.
fn shown() -> BTreeMap<String, Vec<String>> {
    let counters = Counters::default();
    counters.replica("db-2:5432");
    let text = counters.render();
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name: String = line.chars().take_while(|c| is_of_name(*c)).collect();
        shown.entry(name).or_default().push(line.to_owned());
    }
    shown
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The metrics in an expression, each with what follows it.
fn metrics(expr: &str) -> impl Iterator<Item = (&str, &str)> {
    expr.match_indices("stockroom_").map(|(at, _)| {
        let rest = &expr[at..];
        rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()))
    })
}

#[test]
fn alerts_are_about_metrics_and_labels_that_there_are() {
    let shown = shown();
    for Rule { alert, expr, .. } in rules() {
        assert!(metrics(&expr).next().is_some(), "{alert}: {expr}");
        for (name, rest) in metrics(&expr) {
            let series = shown.get(name);
            let series = series.unwrap_or_else(|| panic!("{alert}: there is no {name}"));
            let Some(labels) = rest.strip_prefix('{') else {
                continue;
            };
            for label in labels.split('}').next().unwrap().split(',') {
                let has_it = series.iter().any(|line| line.contains(label));
                assert!(has_it, "{alert}: no {name} has {label}");
            }
        }
        for grouped in expr.split(" by (").skip(1) {
            let (label, of) = grouped.split_once(')').unwrap();
            let (name, _) = metrics(of).next().unwrap();
            let label = format!("{label}=\"");
            assert!(shown[name][0].contains(&label), "{alert}: {label}");
        }
    }
}

/// The expression of an alert.
fn expr(alert: &str) -> String {
    let rule = rules().into_iter().find(|rule| rule.alert == alert);
    rule.unwrap_or_else(|| panic!("there is no {alert}")).expr
}

/// Where every order is late none is counted by its outcome: what is divided must not be 0 by 0.
#[test]
fn orders_that_run_out_of_time_raise_an_alert_though_none_is_answered() {
    let expr = expr("StockroomOrdersRunOutOfTime");
    let late = r#"stockroom_calls_unanswered_total{method="CreateOrder"}"#;
    let (of, all) = expr.split_once(" / ").unwrap();
    assert!(of.contains(late), "{of}");
    assert!(all.contains(late), "{all}");
    assert!(all.contains("stockroom_orders_total["), "{all}");
}

/// Who does not sweep says that nothing is overdue.
#[test]
fn holds_that_nobody_looks_for_raise_an_alert_of_their_own() {
    assert_eq!(
        expr("StockroomNobodySweeps"),
        "sum(stockroom_sweeper_active) == 0"
    );
}

/// The gauge is 0 while they are: an alert on it alone would begin anew each time.
#[test]
fn an_alert_of_stopped_keys_goes_on_while_they_are_offered_again() {
    let expr = expr("StockroomKeysAreStopped");
    let (_, window) = expr
        .split_once("max_over_time(stockroom_events_keys_stopped[")
        .unwrap();
    let (minutes, _) = window.split_once("m])").unwrap();
    let window_ms = minutes.parse::<u64>().unwrap() * 60_000;
    // So there is a look between two offers in it.
    assert!(
        window_ms > Config::default().events.refused_retry_ms,
        "{expr}"
    );
}

#[test]
fn every_alert_says_what_it_means() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        assert!(rule.alert.starts_with("Stockroom"), "{}", rule.alert);
        let severity = rule.labels["severity"].as_str();
        assert!(["page", "warn"].contains(&severity), "{severity}");
        assert!(rule.annotations["summary"].ends_with('.'), "{}", rule.alert);
        let minutes = rule.lasts.as_deref().map(|lasts| lasts.strip_suffix('m'));
        if let Some(minutes) = minutes {
            assert!(minutes.unwrap().parse::<u32>().is_ok(), "{}", rule.alert);
        }
        let count = |c| rule.expr.matches(c).count();
        assert_eq!(count('('), count(')'), "{}", rule.expr);
        assert_eq!(count('{'), count('}'), "{}", rule.expr);
        assert!(names.insert(rule.alert.clone()), "{} twice", rule.alert);
    }
}
