//! The connections to PostgreSQL that instances on Kubernetes take at their most, and what the
//! manifests tell people to set.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stockroom::config::Config;

use super::kubernetes::{BASE, EXAMPLE, documents, the_one};
use super::{configured, read};

/// `superuser_reserved_connections`, by default.
const RESERVED: i64 = 3;

/// Whoever migrates: one that works, and one that has the lock.
const MIGRATING: i64 = 2;

/// A figure further above what is needed has not followed it.
const SPARE_MAX: i64 = 20;

/// While a release is rolled out, beyond `maxReplicas`: one that comes, one that drains.
const ROLLED: i64 = 2;

/// The number after `before`.
fn number(text: &str, before: &str) -> i64 {
    let (_, rest) = text.split_once(before).unwrap();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    rest[..end].parse().unwrap()
}

/// What README.md says of an instance.
fn of_an_instance(config: &Config) -> i64 {
    let readme = read("../README.md");
    let (_, told) = readme.split_once("Each instance opens up to ").unwrap();
    let beside = match config.events.brokers.as_str() {
        "off" => number(told, "`store.pool_max` + "),
        _ => number(told, "with Kafka "),
    };
    number(told, "") * i64::from(config.store.pool_max) + beside
}

fn assert_asked_for(manifest: &str, instances_max: i32, config: &Config) {
    let text = read(manifest);
    let asked = number(&text, "max_connections = ");
    let (instances, each) = (i64::from(instances_max) + ROLLED, of_an_instance(config));
    let sum = format!("{instances} × {each}");
    assert!(text.contains(&sum), "{manifest} does not say {sum}");
    let needed = instances * each + MIGRATING + RESERVED;
    assert!(
        (needed..=needed + SPARE_MAX).contains(&asked),
        "{manifest} asks for {asked}, and {needed} are needed"
    );
}

#[test]
fn the_base_says_how_many_connections_its_instances_take() {
    let scaler: HorizontalPodAutoscaler = the_one("HorizontalPodAutoscaler");
    let instances_max = scaler.spec.unwrap().max_replicas;
    let config = configured(Some(&format!("{BASE}/stockroom.toml")), &[]);
    assert_asked_for(&format!("{BASE}/scaling.yaml"), instances_max, &config);
}

#[test]
fn the_example_says_how_many_connections_its_instances_take() {
    let manifest = format!("{EXAMPLE}/kustomization.yaml");
    let kustomization = &documents(&read(&manifest))[0];
    let patches = kustomization["patches"].as_array().unwrap();
    let instances_max = patches.iter().find_map(|patch| {
        let patch = &documents(patch["patch"].as_str().unwrap())[0];
        patch["spec"]["maxReplicas"].as_i64()
    });
    let instances_max = instances_max.unwrap().try_into().unwrap();
    let config = configured(Some(&format!("{EXAMPLE}/stockroom.toml")), &[]);
    assert_asked_for(&manifest, instances_max, &config);
}

/// An instance has its connections until it is gone.
#[test]
fn a_rollout_has_one_instance_that_comes_and_one_that_drains() {
    let deployment: Deployment = the_one("Deployment");
    let deployment = deployment.spec.unwrap();
    let rolling = deployment.strategy.unwrap().rolling_update.unwrap();
    assert_eq!(rolling.max_surge, Some(IntOrString::Int(1)));
    assert_eq!(rolling.max_unavailable, Some(IntOrString::Int(0)));
    // The next one drains when the one that came has been ready for so long.
    let ready_ms = u64::try_from(deployment.min_ready_seconds.unwrap()).unwrap() * 1_000;
    let lifecycle = deployment.template.spec.unwrap().containers.remove(0);
    let sleep = lifecycle.lifecycle.unwrap().pre_stop.unwrap().sleep;
    let sleep_ms = u64::try_from(sleep.unwrap().seconds).unwrap() * 1_000;
    for folder in [BASE, EXAMPLE] {
        let config = configured(Some(&format!("{folder}/stockroom.toml")), &[]);
        let drain_ms = config.server.drain_timeout_ms + config.events.drain_timeout_ms;
        assert!(ready_ms > sleep_ms + drain_ms, "{folder}");
    }
}
