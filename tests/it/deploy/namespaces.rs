//! The namespace that Stockroom is in on Kubernetes, and those of its callers.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::kubernetes::{EXAMPLE, Labels, documents, the_one, typed};
use super::read;

#[test]
fn callers_of_every_namespace_are_let_in_by_their_label() {
    let policy: NetworkPolicy = the_one("NetworkPolicy");
    let mut rules = policy.spec.unwrap().ingress.unwrap();
    let grpc = Some(IntOrString::String("grpc".to_owned()));
    rules.retain(|rule| rule.ports.iter().flatten().any(|it| it.port == grpc));
    assert_eq!(rules.len(), 1);
    let peers = rules.remove(0).from.unwrap();
    assert_eq!(peers.len(), 1, "{peers:?}");
    // All of them, where none at all would be the policy's own.
    assert_eq!(peers[0].namespace_selector, Some(LabelSelector::default()));
    let label = Labels::from([("stockroom/client".to_owned(), "true".to_owned())]);
    let selector = peers[0].pod_selector.as_ref();
    assert_eq!(selector.unwrap().match_labels, Some(label));
    let told = read(&format!("{EXAMPLE}/kustomization.yaml"));
    assert!(told.contains("`stockroom/client: \"true\"`"));
}

#[test]
fn the_example_makes_the_namespace_that_it_is_in() {
    let kustomization = &documents(&read(&format!("{EXAMPLE}/kustomization.yaml")))[0];
    let resources = kustomization["resources"].as_array().unwrap();
    assert!(resources.contains(&"namespace.yaml".into()));
    let namespace = &documents(&read(&format!("{EXAMPLE}/namespace.yaml")))[0];
    let namespace: Namespace = typed(namespace);
    let name = namespace.metadata.name;
    assert_eq!(name.as_deref(), kustomization["namespace"].as_str());
}
