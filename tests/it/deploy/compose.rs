//! `compose.yaml`, as far as it can be checked without containers.

use std::collections::BTreeMap;

use serde_json::Value;
use stockroom::config::Config;

use super::{configured, deploy, image, read};

type Services = BTreeMap<String, Value>;

/// The file, with `<<` merged as YAML readers do.
fn compose() -> Value {
    let mut yaml: serde_norway::Value = serde_norway::from_str(&read("compose.yaml")).unwrap();
    yaml.apply_merge().unwrap();
    // Nested: the environment within what is merged itself.
    yaml.apply_merge().unwrap();
    serde_json::to_value(yaml).unwrap()
}

fn services() -> Services {
    serde_json::from_value(compose()["services"].clone()).unwrap()
}

/// With `${NAME:-default}` as it is where nobody sets NAME.
fn with_defaults(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (variable, after) = rest.split_once('}').unwrap();
    let (_, default) = variable
        .split_once(":-")
        .expect("every variable has a default");
    format!("{before}{default}{}", with_defaults(after))
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let Some(environment) = service["environment"].as_object() else {
        return Vec::new();
    };
    let text = |value: &Value| match value {
        Value::String(text) => with_defaults(text),
        other => other.to_string(),
    };
    environment
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// What a service of our image reads there.
fn in_its_container(service: &Value) -> Config {
    let environment = [image::environment(), environment(service)].concat();
    configured(Some(image::CONFIGURATION), &environment)
}

fn depends_on(service: &Value) -> BTreeMap<String, String> {
    let Some(depends_on) = service["depends_on"].as_object() else {
        return BTreeMap::new();
    };
    let condition = |on: &Value| on["condition"].as_str().unwrap().to_owned();
    depends_on
        .iter()
        .map(|(name, on)| (name.clone(), condition(on)))
        .collect()
}

#[test]
fn stockroom_understands_its_environment() {
    let mut ours = Vec::new();
    for (name, service) in services() {
        if service["image"] == "stockroom" {
            in_its_container(&service);
            ours.push(name);
        }
    }
    assert_eq!(ours, ["migrate", "stockroom-1", "stockroom-2", "topics"]);
}

#[test]
fn instances_use_what_is_there() {
    let services = services();
    let is_there = |address: &str| {
        let host = address.split(['/', ':']).next().unwrap();
        assert!(services.contains_key(host), "{host}");
    };
    for name in ["stockroom-1", "stockroom-2"] {
        let service = &services[name];
        let config = in_its_container(service);
        let migrated = in_its_container(&services["migrate"]);
        assert_eq!(config.store.url, migrated.store.url);
        let urls = [&config.store.url]
            .into_iter()
            .chain(&config.store.replicas);
        urls.for_each(|url| is_there(url.split('@').nth(1).unwrap()));
        assert_eq!(config.store.replicas.len(), 1);
        is_there(&config.events.brokers);
        let drain_ms = config.server.drain_timeout_ms + config.events.drain_timeout_ms;
        let grace = service["stop_grace_period"].as_str().unwrap();
        let seconds: u64 = grace.strip_suffix('s').unwrap().parse().unwrap();
        assert!(drain_ms < seconds * 1_000, "{grace}");
    }
}

#[test]
fn what_is_waited_for_can_be_waited_for() {
    let services = services();
    for (name, service) in &services {
        for (on, condition) in depends_on(service) {
            let other = services.get(&on);
            let other = other.unwrap_or_else(|| panic!("{name} waits for {on}"));
            match condition.as_str() {
                "service_healthy" => assert!(other["healthcheck"].is_object(), "{on}"),
                "service_completed_successfully" => assert_eq!(other["restart"], "on-failure"),
                "service_started" => {}
                unknown => panic!("{name}: {unknown}"),
            }
        }
        // What is of no image's own default is pinned, and everything is healthy or ends.
        let image = service["image"].as_str().unwrap();
        assert!(image == "stockroom" || image.contains(':'), "{image}");
        let ends = service["restart"] == "on-failure";
        assert!(ends || service["healthcheck"].is_object(), "{name}");
    }
}

#[test]
fn nginx_balances_over_the_instances_and_alone_is_reached_from_outside() {
    let services = services();
    let conf = read("nginx/nginx.conf");
    let upstream = |line: &str| {
        let server = line.trim().strip_prefix("server ")?.split(' ').next()?;
        Some(server.strip_suffix(":50051")?.to_owned())
    };
    let upstreams: Vec<_> = conf.lines().filter_map(upstream).collect();
    assert_eq!(upstreams, ["stockroom-1", "stockroom-2"]);
    for name in &upstreams {
        let config = in_its_container(&services[name]);
        assert_eq!(config.server.listen, "0.0.0.0:50051");
        // Compose replaces all of the image's health check.
        let asked = [vec!["CMD".to_owned()], image::health_check()].concat();
        let test = &services[name]["healthcheck"]["test"];
        assert_eq!(*test, serde_json::to_value(asked).unwrap());
        assert_eq!(depends_on(&services["nginx"])[name], "service_healthy");
        // Made anew it has another address, and nginx asks for it once.
        assert_eq!(services["nginx"]["depends_on"][name]["restart"], true);
    }
    for (name, service) in &services {
        assert_eq!(service["ports"].is_array(), name == "nginx", "{name}");
        // And from this machine alone, until its operator says otherwise.
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port}");
        }
    }
}

#[test]
fn volumes_and_files_are_there() {
    let compose = compose();
    let named = compose["volumes"].as_object().unwrap();
    for (name, service) in services() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let volume = volume.as_str().unwrap();
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(file) => {
                    assert!(deploy().join(file).is_file(), "{name}: {source}");
                    // Without the label SELinux lets no container read it.
                    assert!(volume.ends_with(":ro,z"), "{name}: {volume}");
                }
                None => assert!(named.contains_key(source), "{name}: {source}"),
            }
        }
    }
}
