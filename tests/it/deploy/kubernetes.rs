//! The Kubernetes base and its example, as far as they can be checked without a cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PodSpec, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{configured, deploy, image, read};

pub(super) const BASE: &str = "kubernetes/base";
pub(super) const EXAMPLE: &str = "kubernetes/overlays/example";

pub(super) type Labels = BTreeMap<String, String>;

/// The documents of a stream.
pub(super) fn documents(yaml: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// Everything that the base's kustomization names.
fn base() -> Vec<Value> {
    let kustomization = read(&format!("{BASE}/kustomization.yaml"));
    let kustomization = &documents(&kustomization)[0];
    let resources = kustomization["resources"].as_array().unwrap();
    let mut named: Vec<_> = resources.iter().map(|it| it.as_str().unwrap()).collect();
    let documents = named
        .iter()
        .flat_map(|file| documents(&read(&format!("{BASE}/{file}"))))
        .collect();
    let files = std::fs::read_dir(deploy().join(BASE)).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files
        .filter(|file| file.ends_with(".yaml") && file != "kustomization.yaml")
        .collect();
    named.sort_unstable();
    files.sort_unstable();
    assert_eq!(named, files, "every file is named");
    documents
}

/// The document as its type has it. What the type does not know, such as a misspelt
/// field, would be lost on the way through it.
pub(super) fn typed<T: DeserializeOwned + serde::Serialize>(document: &Value) -> T {
    let typed: T =
        serde_json::from_value(document.clone()).unwrap_or_else(|e| panic!("{e}: {document:#}"));
    assert_eq!(serde_json::to_value(&typed).unwrap(), *document);
    typed
}

/// Checks each document against its type.
fn check_types(documents: &[Value]) {
    for document in documents {
        match document["kind"].as_str().unwrap() {
            "Deployment" => drop(typed::<Deployment>(document)),
            "HorizontalPodAutoscaler" => drop(typed::<HorizontalPodAutoscaler>(document)),
            "Job" => drop(typed::<Job>(document)),
            "Namespace" => drop(typed::<Namespace>(document)),
            "ConfigMap" => drop(typed::<ConfigMap>(document)),
            "NetworkPolicy" => drop(typed::<NetworkPolicy>(document)),
            "PodDisruptionBudget" => drop(typed::<PodDisruptionBudget>(document)),
            "Secret" => {
                // Its values are folded over lines, which readers of YAML's binary ignore.
                let mut secret = document.clone();
                for value in secret["data"].as_object_mut().unwrap().values_mut() {
                    *value = value.as_str().unwrap().replace('\n', "").into();
                }
                drop(typed::<Secret>(&secret));
            }
            "Service" => drop(typed::<Service>(document)),
            "ServiceAccount" => drop(typed::<ServiceAccount>(document)),
            kind => panic!("no type for {kind}"),
        }
    }
}

/// All documents of one kind.
fn all<T: DeserializeOwned + serde::Serialize>(kind: &str) -> Vec<T> {
    let base = base();
    base.iter()
        .filter(|it| it["kind"] == kind)
        .map(typed)
        .collect()
}

pub(super) fn the_one<T: DeserializeOwned + serde::Serialize>(kind: &str) -> T {
    let mut all = all(kind);
    assert_eq!(all.len(), 1, "{kind}");
    all.remove(0)
}

/// The labels and the specification of each kind of pod.
fn pods() -> Vec<(Labels, PodSpec)> {
    let deployment: Deployment = the_one("Deployment");
    let job: Job = the_one("Job");
    [
        deployment.spec.unwrap().template,
        job.spec.unwrap().template,
    ]
    .map(|pod| (pod.metadata.unwrap().labels.unwrap(), pod.spec.unwrap()))
    .into()
}

#[test]
fn every_field_is_one_that_kubernetes_knows() {
    check_types(&base());
}

#[test]
fn a_misspelt_field_would_be_noticed() {
    let mut deployment: Value = serde_json::to_value(the_one::<Deployment>("Deployment")).unwrap();
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 30.into();
    let typed: Deployment = serde_json::from_value(deployment.clone()).unwrap();
    assert_ne!(serde_json::to_value(&typed).unwrap(), deployment);
}

#[test]
fn selectors_match_the_pods_that_they_mean() {
    let pods = pods();
    let (server, migrate) = (&pods[0].0, &pods[1].0);
    let selects = |selector: &Labels, labels: &Labels| {
        selector
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    };
    let only_server = |selector: &Labels| {
        assert!(selects(selector, server), "{selector:?}");
        assert!(!selects(selector, migrate), "{selector:?}");
    };
    let deployment: Deployment = the_one("Deployment");
    let deployment = deployment.spec.unwrap();
    only_server(&deployment.selector.match_labels.unwrap());
    let services: Vec<Service> = all("Service");
    assert_eq!(services.len(), 2);
    for service in &services {
        only_server(service.spec.as_ref().unwrap().selector.as_ref().unwrap());
    }
    let budget: PodDisruptionBudget = the_one("PodDisruptionBudget");
    only_server(&budget.spec.unwrap().selector.unwrap().match_labels.unwrap());
    for spread in pods[0].1.topology_spread_constraints.as_ref().unwrap() {
        only_server(
            spread
                .label_selector
                .as_ref()
                .unwrap()
                .match_labels
                .as_ref()
                .unwrap(),
        );
    }
    let policy: NetworkPolicy = the_one("NetworkPolicy");
    let of_both = policy
        .spec
        .unwrap()
        .pod_selector
        .unwrap()
        .match_labels
        .unwrap();
    assert!(selects(&of_both, server) && selects(&of_both, migrate));
    let scaler: HorizontalPodAutoscaler = the_one("HorizontalPodAutoscaler");
    assert_eq!(
        Some(scaler.spec.unwrap().scale_target_ref.name),
        the_one::<Deployment>("Deployment").metadata.name
    );
}

#[test]
fn ports_are_those_that_the_configuration_listens_on() {
    let config = configured(
        Some(&format!("{BASE}/stockroom.toml")),
        &image::environment(),
    );
    let port = |address: &str| -> i32 { address.rsplit_once(':').unwrap().1.parse().unwrap() };
    let container = pods()[0].1.containers[0].clone();
    let ports = container.ports.unwrap();
    let named = |name: &str| {
        let port = ports.iter().find(|port| port.name.as_deref() == Some(name));
        port.unwrap_or_else(|| panic!("no port {name}"))
            .container_port
    };
    assert_eq!(named("grpc"), port(&config.server.listen));
    assert_eq!(named("metrics"), port(config.http.address().unwrap()));
    assert_eq!(
        container.readiness_probe.unwrap().grpc.unwrap().port,
        named("grpc")
    );
    let probes = [container.startup_probe, container.liveness_probe];
    for probe in probes.map(|probe| probe.unwrap().http_get.unwrap()) {
        assert_eq!(probe.path.as_deref(), Some("/livez"));
        assert_eq!(probe.port, IntOrString::String("metrics".to_owned()));
    }
    for service in all::<Service>("Service") {
        for port in service.spec.unwrap().ports.unwrap() {
            let Some(IntOrString::String(target)) = port.target_port else {
                panic!("{port:?}")
            };
            assert_eq!(port.port, named(&target));
        }
    }
}

#[test]
fn a_pod_is_given_the_time_that_its_drain_takes() {
    let config = configured(Some(&format!("{BASE}/stockroom.toml")), &[]);
    let pod = &pods()[0].1;
    let lifecycle = pod.containers[0].lifecycle.clone().unwrap();
    let sleep = lifecycle.pre_stop.unwrap().sleep.unwrap().seconds;
    let grace = pod.termination_grace_period_seconds.unwrap();
    let drain_ms = config.server.drain_timeout_ms + config.events.drain_timeout_ms;
    // Commits under way and connections get a second each on top.
    assert!(u64::try_from(grace - sleep - 2).unwrap() * 1_000 > drain_ms);
}

#[test]
fn pods_have_no_more_rights_than_they_need() {
    for (labels, pod) in pods() {
        assert_eq!(
            pod.automount_service_account_token,
            Some(false),
            "{labels:?}"
        );
        assert_eq!(pod.service_account_name.as_deref(), Some("stockroom"));
        let context = pod.security_context.unwrap();
        assert_eq!(context.run_as_non_root, Some(true));
        for container in pod.containers {
            let context = container.security_context.unwrap();
            assert_eq!(context.read_only_root_filesystem, Some(true));
            assert_eq!(context.allow_privilege_escalation, Some(false));
            assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            assert!(
                container
                    .resources
                    .unwrap()
                    .limits
                    .unwrap()
                    .contains_key("memory")
            );
        }
    }
}

#[test]
fn stockroom_understands_the_environment_of_its_pods() {
    for (labels, pod) in pods() {
        // Or the Service would add STOCKROOM_PORT and more.
        assert_eq!(pod.enable_service_links, Some(false), "{labels:?}");
        for container in pod.containers {
            let environment = container.env.unwrap().into_iter().map(|variable| {
                assert!(variable.value_from.unwrap().secret_key_ref.is_some());
                (variable.name, "postgres://u:p@h/d".to_owned())
            });
            let mut all = image::environment();
            all.extend(environment);
            let config = configured(Some(&format!("{BASE}/stockroom.toml")), &all);
            assert!(!config.store.is_sqlite());
        }
    }
}

#[test]
fn pods_read_what_is_mounted_in_the_place_of_the_images_configuration() {
    for (_, pod) in pods() {
        let container = &pod.containers[0];
        let mount = &container.volume_mounts.as_ref().unwrap()[0];
        let file = format!("{}/stockroom.toml", mount.mount_path);
        assert_eq!(file, image::MOUNTED);
        let args = container.args.as_ref().unwrap();
        assert_eq!(args[1..], [format!("--config={file}")]);
    }
}

#[test]
fn the_example_builds_and_is_understood() {
    let file = format!("{EXAMPLE}/stockroom.toml");
    let url = |name: &str| {
        (
            format!("STOCKROOM_STORE_{name}"),
            "postgres://u:p@h/d".to_owned(),
        )
    };
    let config = configured(Some(&file), &[url("URL"), url("REPLICAS")]);
    assert_ne!(config.events.brokers, "off");
    let Some(kustomize) = std::env::var_os("STOCKROOM_TEST_KUSTOMIZE").map(PathBuf::from) else {
        use std::io::Write as _;
        let why = "kustomize build: STOCKROOM_TEST_KUSTOMIZE is not set; `make test` sets it";
        let _ = writeln!(std::io::stderr(), "\nNOT RUN: {why}\n");
        return;
    };
    for (folder, objects) in [("base", 9), ("overlays/example", 11)] {
        let built = Command::new(&kustomize)
            .arg("build")
            .arg(deploy().join("kubernetes").join(folder))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        let documents = documents(&String::from_utf8(built.stdout).unwrap());
        assert_eq!(documents.len(), objects, "{folder}");
        check_types(&documents);
    }
}
