//! `make stack`, from its start to its end.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::fixture::not_run;
use crate::process::Running;

/// Servers start one after the other, on a machine that does something else as well.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// Instances drain, and PostgreSQL writes what it has.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// What a tour has at least.
const COMMANDS_MIN: usize = 6;

/// The example as cargo built it beside the program, which `cargo test` does, and what it
/// needs; said aloud where something is missing.
fn example() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_stockroom"));
    let example = program.with_file_name("examples").join("stack");
    let missing = if example.exists() {
        [
            "GRPCURL",
            "POSTGRES_BIN",
            "REDIS_SERVER",
            "KAFKA_LIBS",
            "NGINX",
        ]
        .map(|tool| format!("STOCKROOM_TEST_{tool}"))
        .into_iter()
        .find(|name| std::env::var_os(name).is_none())
        .map(|name| format!("{name} is not set; `make test` sets it"))
    } else {
        Some(format!(
            "{} was not built; `cargo test` does",
            example.display()
        ))
    };
    let Some(why) = missing else {
        return Some(example);
    };
    not_run(&format!("make stack: {why}"));
    None
}

/// The processes that a process has started, and theirs.
fn descendants(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    let children = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).ok()?;
        Some(
            children
                .split(' ')
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>(),
        )
    });
    let children: Vec<u32> = children.flatten().collect();
    let theirs: Vec<u32> = children
        .iter()
        .flat_map(|&child| descendants(child))
        .collect();
    [children, theirs].concat()
}

#[test]
fn the_stack_starts_its_tour_works_and_ctrl_c_leaves_nothing() {
    let Some(example) = example() else { return };
    let began = Instant::now();
    let child = Command::new(example)
        .arg(env!("CARGO_BIN_EXE_stockroom"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut stack = Running(child.unwrap());
    let mut lines = BufReader::new(stack.0.stdout.take().unwrap()).lines();
    let mut commands = Vec::new();
    let mut said = String::new();
    loop {
        assert!(began.elapsed() < START_DEADLINE, "{said}");
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("it ended: {said}"))
            .unwrap();
        said += &format!("{line}\n");
        if line == "Ctrl-C stops everything." {
            break;
        }
        if let Some(command) = line.trim().strip_prefix("grpcurl ") {
            commands.push(command.to_owned());
        }
    }
    assert!(commands.len() >= COMMANDS_MIN, "{said}");
    assert!(!said.contains("LEFT OUT"), "{said}");
    let grpcurl = std::env::var("STOCKROOM_TEST_GRPCURL").unwrap();
    let mut answers = String::new();
    for command in commands {
        let run = format!("{grpcurl} {command}");
        let output = Command::new("sh").args(["-euc", &run]).output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{problem}");
        answers += &String::from_utf8(output.stdout).unwrap();
    }
    for expected in [
        "\"replayed\": true",
        "\"available\": \"94\"",
        "SERVED_FROM_CACHE",
        "SERVED_FROM_PRIMARY",
    ] {
        assert!(answers.contains(expected), "{expected} is not in {answers}");
    }
    // PostgreSQL twice, Redis, Kafka, nginx, two instances, and those who guard them.
    let processes = descendants(stack.0.id());
    assert!(processes.len() > 10, "{processes:?}");
    let asked = Instant::now();
    // As a terminal sends it: to all of a group.
    let group = Pid::from_raw(stack.0.id().try_into().unwrap());
    killpg(group, Signal::SIGINT).unwrap();
    let last = lines.map_while(Result::ok).last();
    assert_eq!(last.as_deref(), Some("stopped"));
    assert!(stack.0.wait().unwrap().success());
    let is_there = |id: &u32| Path::new(&format!("/proc/{id}/exe")).exists();
    // Guards end after whom they guard, a moment after the stack itself.
    while processes.iter().any(is_there) {
        let left: Vec<_> = processes.iter().filter(|id| is_there(id)).collect();
        assert!(asked.elapsed() < STOP_DEADLINE, "{left:?} are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
