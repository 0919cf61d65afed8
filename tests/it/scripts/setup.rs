//! `setup-test-tools.sh`.

use std::fs;

use super::{Ran, Sandbox};

/// What can be left out.
const PARTS: [&str; 7] = [
    "grpcurl",
    "postgres",
    "redis",
    "kafka",
    "nginx",
    "kustomize",
    "faketime",
];

/// A sandbox in which nothing can be installed, and where PATH has neither of the tools that Go
/// builds.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for program in ["apt-get", "sudo", "mvn", "go", "grpcurl", "kustomize"] {
        sandbox.stub(program, "exit 1");
    }
    sandbox
}

/// Sets up, but for these.
fn set_up_without(sandbox: &Sandbox, skip: &str) -> Ran {
    let skip = [("STOCKROOM_TEST_SKIP", skip)];
    sandbox.run("bash", &["scripts/setup-test-tools.sh"], &skip)
}

/// Sets up these alone.
fn set_up(sandbox: &Sandbox, wanted: &[&str]) -> Ran {
    let mut others = PARTS.to_vec();
    others.retain(|part| !wanted.contains(part));
    set_up_without(sandbox, &others.join(","))
}

#[test]
fn everything_can_be_left_out_with_blanks_in_the_list_or_without() {
    let sandbox = sandbox();
    for list in [PARTS.join(","), PARTS.join(", "), PARTS.join(" ,\t")] {
        let ran = set_up_without(&sandbox, &list);
        assert!(ran.succeeded, "{list}: {}", ran.said);
        for part in PARTS {
            let skipped = format!("SKIPPED: {part} ");
            assert!(ran.said.contains(&skipped), "{list}: {}", ran.said);
        }
        assert!(sandbox.path("target/tools/test.env").exists(), "{list}");
    }
}

#[test]
fn where_go_is_too_old_the_message_says_how_to_do_without_what_it_builds() {
    let sandbox = sandbox();
    sandbox.stub("go", "echo go version go1.18.1 linux/amd64");
    for part in ["grpcurl", "kustomize"] {
        let ran = set_up(&sandbox, &[part]);
        assert!(!ran.succeeded, "{}", ran.said);
        for expected in [
            format!("{part} takes Go 1.19 or newer"),
            format!("STOCKROOM_TEST_SKIP={part} leaves it out"),
        ] {
            assert!(ran.said.contains(&expected), "{expected}: {}", ran.said);
        }
    }
}

#[test]
fn the_newest_tools_that_go_can_build_are_built() {
    let sandbox = sandbox();
    sandbox.program("built", "");
    let built = sandbox.path("built");
    let go = format!(
        "case $1 in\n\
         version) echo go version go1.23.4 linux/amd64 ;;\n\
         install) for tool in grpcurl kustomize; do cp '{}' \"$GOBIN/$tool\"; done ;;\n\
         esac",
        built.display()
    );
    sandbox.stub("go", &go);
    for part in ["grpcurl", "kustomize"] {
        let ran = set_up(&sandbox, &[part]);
        assert!(ran.succeeded, "{}", ran.said);
        fs::remove_dir_all(sandbox.path("target")).unwrap();
    }
    let calls = sandbox.calls();
    let installed = calls
        .lines()
        .filter_map(|it| it.strip_prefix("go install "));
    assert_eq!(
        installed.collect::<Vec<_>>(),
        [
            "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
            "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
        ]
    );
}

#[test]
fn a_list_of_tools_stays_until_the_next_is_whole_and_goes_when_a_setup_fails() {
    let sandbox = sandbox();
    let everything = PARTS.join(",");
    let ran = set_up_without(&sandbox, &everything);
    assert!(ran.succeeded, "{}", ran.said);
    let tools = sandbox.path("target/tools");
    let list = fs::read_to_string(tools.join("test.env")).unwrap();
    sandbox.stub("go", "cp target/tools/test.env seen; exit 1");
    let ran = set_up(&sandbox, &["grpcurl"]);
    assert!(!ran.succeeded, "{}", ran.said);
    assert_eq!(fs::read_to_string(sandbox.path("seen")).unwrap(), list);
    let left: Vec<_> = fs::read_dir(tools).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_setup_that_is_hung_up_leaves_no_word_on_which_servers_start() {
    let sandbox = sandbox();
    let hang_up = "case \"$*\" in *install*) ls policy; kill -HUP $PPID ;; esac";
    sandbox.stub("apt-get", hang_up);
    let script = ". scripts/test-tools/install.sh\n\
                  as_root() { \"$@\"; }\n\
                  POLICY=$PWD/policy\n\
                  apt_install redis-server";
    let ran = sandbox.run("bash", &["-c", script], &[]);
    assert!(!ran.succeeded, "{}", ran.said);
    assert!(ran.said.contains("\npolicy\n"), "{}", ran.said);
    assert!(!sandbox.path("policy").exists());
    // Somebody else's apt is waited for.
    let calls = sandbox.calls();
    assert_eq!(calls.lines().count(), 2, "{calls}");
    for call in calls.lines() {
        let options = "apt-get -o DPkg::Lock::Timeout=300 ";
        assert!(call.starts_with(options), "{call}");
    }
}

/// `setup_postgres` where there is none at first, and `found` says what apt installs.
fn set_up_postgres(sandbox: &Sandbox, found: &str) -> Ran {
    let script = format!(
        "set -euo pipefail\n\
         . scripts/test-tools/install.sh\n\
         . scripts/test-tools/servers.sh\n\
         apt_install() {{ echo \"apt_install $*\"; touch installed; }}\n\
         find_postgres() {{ [ ! -e installed ] || echo '{found}'; }}\n\
         export_tool() {{ echo \"$1=$2\"; }}\n\
         setup_postgres"
    );
    sandbox.run("bash", &["-c", &script], &[])
}

#[test]
fn postgresql_is_the_one_that_the_release_has() {
    let sandbox = Sandbox::new();
    sandbox.program("bin/postgres", "echo postgres '(PostgreSQL)' 17.6");
    let ran = set_up_postgres(&sandbox, "bin");
    assert!(ran.succeeded, "{}", ran.said);
    let lines: Vec<_> = ran.said.lines().collect();
    assert_eq!(
        lines,
        [
            "apt_install postgresql",
            "PostgreSQL 17.6 at bin",
            "STOCKROOM_TEST_POSTGRES_BIN=bin"
        ]
    );
}

#[test]
fn a_release_whose_postgresql_is_too_old_can_do_without() {
    let ran = set_up_postgres(&Sandbox::new(), "");
    assert!(!ran.succeeded, "{}", ran.said);
    for expected in ["15 or newer", "STOCKROOM_TEST_SKIP=postgres leaves it out"] {
        assert!(ran.said.contains(expected), "{}", ran.said);
    }
}
