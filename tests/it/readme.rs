//! What the README says to run works as it stands there: its grpcurl lines, its watches and what
//! it does by hand. Its table of the configuration is what the program prints.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::{Home, StoreKind, not_run, run_on};
use crate::process::{Server, stockroom};

pub(crate) const README: &str = include_str!("../../README.md");

/// The examples of each kind that the README has: with fewer, some are lost or are not found.
const LINES_MIN: usize = 14;
const WATCHES_MIN: usize = 4;
const BY_HAND_MIN: usize = 12;

/// The address that the README tells people to use.
const ADDRESS: &str = "localhost:50051";

#[test]
fn every_grpcurl_line_of_the_readme_succeeds() {
    let commands = grpcurl_commands(README);
    assert!(
        commands.len() >= LINES_MIN,
        "only {} grpcurl lines",
        commands.len()
    );
    let Some(grpcurl) = std::env::var_os("STOCKROOM_TEST_GRPCURL").map(PathBuf::from) else {
        return not_run(
            "with grpcurl, the lines of README: STOCKROOM_TEST_GRPCURL is not set; `make test` sets it",
        );
    };
    assert!(grpcurl.exists(), "{} is missing", grpcurl.display());
    run_on(StoreKind::Sqlite, async |store| {
        let server = Server::start(Home::new(store)).await;
        let address = server.url.strip_prefix("http://").unwrap();
        for command in commands {
            assert!(command.contains(ADDRESS), "{command} calls another address");
            let output = Command::new("sh")
                .args(["-euc", &command.replace(ADDRESS, address)])
                .env("PATH", path_with(&grpcurl))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command}\n{said}");
        }
    });
}

#[test]
fn the_watches_of_the_readme_come_up_to_date() {
    run_on(StoreKind::Sqlite, async |store| {
        let server = Server::start(Home::new(store)).await;
        let watches = README.lines().filter_map(|line| {
            let command = line.strip_prefix("$ stockroom watch ")?;
            Some(command.split('#').next().unwrap().trim())
        });
        let mut count = 0;
        for watch in watches {
            let arguments = ["watch", "--addr", &server.url].into_iter();
            let arguments: Vec<_> = arguments.chain(watch.split_whitespace()).collect();
            let folder = tempfile::tempdir().unwrap();
            let mut watching = stockroom(folder.path(), &arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let said = BufReader::new(watching.stderr.take().unwrap()).lines();
            let mut said = said.map_while(Result::ok);
            assert!(said.any(|line| line == "-- up to date"), "{arguments:?}");
            watching.kill().unwrap();
            watching.wait().unwrap();
            count += 1;
        }
        assert!(count >= WATCHES_MIN, "only {count} watches");
    });
}

#[test]
fn what_the_readme_does_by_hand_succeeds() {
    run_on(StoreKind::Sqlite, async |store| {
        let server = Server::start(Home::new(store)).await;
        let folder = tempfile::tempdir().unwrap();
        do_by_hand(&server, folder.path()).await;
    });
}

/// Runs what the README does by hand, in `folder`.
pub(crate) async fn do_by_hand(server: &Server, folder: &Path) {
    const COMMANDS: [&str; 6] = ["adjust", "order", "orders", "movements", "import", "export"];
    crate::api::put(&server.client().await, "85123A", 0).await;
    let mut count = 0;
    for line in README.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["$", "stockroom", arguments @ ..] = &words[..] else {
            continue;
        };
        if !COMMANDS.contains(&arguments[0]) {
            continue;
        }
        let addr = ["--addr", &server.url];
        let output = crate::process::run(folder, &[arguments, &addr].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{said}");
        count += 1;
    }
    assert!(count >= BY_HAND_MIN, "only {count} commands");
}

#[test]
fn the_configuration_table_of_the_readme_is_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let printed = stockroom(folder.path(), &["config", "--markdown"])
        .output()
        .unwrap();
    let table = crate::process::stdout(&printed);
    assert!(
        README.contains(table.trim()),
        "put what `stockroom config --markdown` prints into README.md"
    );
}

/// The commands in blocks of ```sh that begin with `grpcurl`, in their order;
/// lines that end in a backslash go on.
fn grpcurl_commands(readme: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut in_block, mut goes_on) = (false, false);
    for line in readme.lines() {
        if line.trim_start().starts_with("```") {
            in_block = line.trim() == "```sh";
            goes_on = false;
        } else if goes_on || in_block && line.starts_with("grpcurl ") {
            if !goes_on {
                commands.push(String::new());
            }
            let command = commands.last_mut().unwrap();
            command.push_str(line);
            command.push('\n');
            // A text in quotes may go on as well, without a backslash.
            goes_on = line.ends_with('\\') || command.matches('\'').count() % 2 == 1;
        }
    }
    commands
}

fn path_with(grpcurl: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", grpcurl.parent().unwrap().display())
}

#[test]
fn commands_are_found_as_people_copy_them() {
    let readme =
        "```sh\ngrpcurl a \\\n  -d x\ncargo run\ngrpcurl -d '{\n}' b\n```\n```\ngrpcurl c\n```";
    assert_eq!(
        grpcurl_commands(readme),
        ["grpcurl a \\\n  -d x\n", "grpcurl -d '{\n}' b\n"]
    );
}
