//! `build-image.sh`.

use std::fs;
use std::path::Path;

use super::{Ran, Sandbox};

/// What a builder tells of an image.
const WITH_HEALTH_CHECK: &str = r#"{"Config": {"Healthcheck": {"Test": ["CMD"]}}}"#;

/// A sandbox with one builder, whose images are as `described`, and with a binary of before.
fn sandbox(builder: &str, described: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for other in ["docker", "podman", "buildah"] {
        sandbox.stub(other, "exit 1");
    }
    let script = format!(
        "case $1 in\n\
         pull) exit 1 ;;\n\
         build) echo \"BuildKit: $DOCKER_BUILDKIT\" ;;\n\
         from) echo container ;;\n\
         inspect) echo '{described}' ;;\n\
         esac"
    );
    sandbox.stub(builder, &script);
    sandbox.program("target/release/stockroom", "echo that of before");
    sandbox.program("elsewhere/stockroom", "echo the one that was built");
    sandbox.stub("cargo", &built(&sandbox));
    sandbox
}

/// What cargo says when it has built the binary, in a folder that a file of the machine names.
fn built(sandbox: &Sandbox) -> String {
    let binary = sandbox.path("elsewhere/stockroom");
    format!(
        "echo '{{\"reason\":\"compiler-artifact\",\"executable\":null,\"fresh\":true}}'\n\
         echo '{{\"reason\":\"compiler-artifact\",\"executable\":\"{}\",\"fresh\":true}}'\n\
         echo '{{\"reason\":\"build-finished\",\"success\":true}}'",
        binary.display()
    )
}

fn build(sandbox: &Sandbox) -> Ran {
    sandbox.run("bash", &["scripts/build-image.sh"], &[])
}

#[test]
fn docker_is_asked_to_use_buildkit() {
    let ran = build(&sandbox("docker", WITH_HEALTH_CHECK));
    assert!(ran.succeeded, "{}", ran.said);
    assert!(ran.said.contains("BuildKit: 1\n"), "{}", ran.said);
}

#[test]
fn podman_makes_an_image_of_the_form_that_has_health_checks() {
    let sandbox = sandbox("podman", WITH_HEALTH_CHECK);
    let ran = build(&sandbox);
    assert!(ran.succeeded, "{}", ran.said);
    let calls = sandbox.calls();
    assert!(calls.contains("podman build --format docker "), "{calls}");
}

#[test]
fn an_image_without_a_health_check_is_noticed() {
    let ran = build(&sandbox("podman", r#"{"Config": {"Healthcheck": null}}"#));
    assert!(!ran.succeeded, "{}", ran.said);
    assert!(ran.said.contains("no health check"), "{}", ran.said);
}

#[test]
fn a_build_that_fails_packs_no_binary_of_before() {
    let sandbox = sandbox("buildah", WITH_HEALTH_CHECK);
    sandbox.stub("cargo", "exit 101");
    let ran = build(&sandbox);
    assert!(!ran.succeeded, "{}", ran.said);
    let calls = sandbox.calls();
    assert!(calls.contains("cargo build --release"), "{calls}");
    assert!(!calls.contains("buildah build"), "{calls}");
}

#[test]
fn the_binary_is_packed_from_where_cargo_says_that_it_is() {
    let sandbox = sandbox("buildah", WITH_HEALTH_CHECK);
    let ran = build(&sandbox);
    assert!(ran.succeeded, "{}", ran.said);
    let packed = sandbox.path("target/image/context/out/bin/stockroom");
    let packed = fs::read_to_string(packed).unwrap();
    assert!(packed.contains("the one that was built"), "{packed}");
    // Whoever else needs it asks the same script.
    for file in ["Makefile", ".ci/run"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("scripts/release-binary.sh"), "{file}");
        assert!(!text.contains("/release/stockroom"), "{file}");
    }
}

#[test]
fn what_is_built_here_has_every_file_that_the_dockerfile_copies() {
    let sandbox = sandbox("buildah", WITH_HEALTH_CHECK);
    let ran = build(&sandbox);
    assert!(ran.succeeded, "{}", ran.said);
    let dockerfile = fs::read_to_string(sandbox.path("target/image/Dockerfile")).unwrap();
    assert_eq!(dockerfile.matches("\nFROM ").count(), 1, "{dockerfile}");
    let copies = dockerfile.lines().filter(|line| line.starts_with("COPY "));
    let mut count = 0;
    for copy in copies {
        let source = copy.split(' ').find(|word| word.starts_with('/')).unwrap();
        let file = format!("target/image/context{source}");
        assert!(sandbox.path(&file).exists(), "{copy}");
        assert!(!copy.contains("--from"), "{copy}");
        count += 1;
    }
    assert_eq!(count, 3, "{dockerfile}");
}
