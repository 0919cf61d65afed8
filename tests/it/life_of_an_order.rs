//! `docs/life-of-an-order.md` tells the truth: each command is run as it stands there,
//! one after the other on one server where what the README does by hand has been done,
//! and prints what the page says. Ids and times are other ones; an id that comes again
//! must come again in the same places.

use std::path::Path;
use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::fixture::{Home, StoreKind, eventually};
use crate::process::Server;
use crate::readme::do_by_hand;

/// A page with fewer commands than this has lost its examples.
const COMMANDS_MIN: usize = 20;

/// Behind a command that shows what happens by itself: repeated until it is seen.
const LATER: &str = "# a moment later";

on_each_store! {
    every_command_of_the_page_prints_what_the_page_says,
}

async fn every_command_of_the_page_prints_what_the_page_says(store: StoreKind) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/life-of-an-order.md");
    let examples = examples(&std::fs::read_to_string(page).unwrap());
    let count = examples.len();
    assert!(count >= COMMANDS_MIN, "only {count} commands");
    let server = Server::start(Home::new(store)).await;
    let folder = tempfile::tempdir().unwrap();
    do_by_hand(&server, folder.path()).await;
    let (mut told, mut real) = (Ids::default(), Ids::default());
    for Example { command, prints } in examples {
        let ours = with_real_ids(&command, &mut told, &real);
        let expected = told.masked(&prints);
        if command.ends_with(LATER) {
            eventually(&command, async || {
                let printed = run(&server, folder.path(), &ours);
                real.clone().masked(&printed) == expected
            })
            .await;
        }
        let printed = run(&server, folder.path(), &ours);
        assert_eq!(real.masked(&printed), expected, "{command}\n{printed}");
    }
}

/// A command and what it prints, on stdout and stderr.
struct Example {
    command: String,
    prints: String,
}

/// The lines of ```console blocks that begin with `$`, each with those below it.
fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            examples.push(Example {
                command: command.to_owned(),
                prints: String::new(),
            });
        } else if in_block {
            let example = examples.last_mut().expect("a block begins with a command");
            example.prints += &format!("{line}\n");
        }
    }
    examples
}

/// What a shell prints that runs the command where people would.
fn run(server: &Server, folder: &Path, command: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_stockroom")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let listen = server.url.strip_prefix("http://").unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("STOCKROOM_SERVER_LISTEN", listen)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The ids that one side has shown so far, in their order.
#[derive(Clone, Default)]
struct Ids(Vec<Uuid>);

impl Ids {
    fn number(&mut self, id: Uuid) -> usize {
        let known = self.0.iter().position(|known| *known == id);
        known.unwrap_or_else(|| {
            self.0.push(id);
            self.0.len() - 1
        })
    }

    /// The words of a text, its ids as numbers and its times as such.
    fn masked(&mut self, text: &str) -> Vec<String> {
        let lines = text.lines().map(|line| {
            let words = line.split_whitespace().map(|word| {
                let cells = word.split(',').map(|cell| self.cell(cell));
                cells.collect::<Vec<_>>().join(",")
            });
            words.collect::<Vec<_>>().join(" ")
        });
        let lines: Vec<_> = lines.collect();
        let filled = lines.iter().rposition(|line| !line.is_empty());
        lines[..filled.map_or(0, |last| last + 1)].to_vec()
    }

    fn cell(&mut self, cell: &str) -> String {
        if let Ok(id) = Uuid::try_parse(cell) {
            return format!("<id {}>", self.number(id));
        }
        match cell.parse::<prost_types::Timestamp>() {
            Ok(_) => "<time>".to_owned(),
            Err(_) => cell.to_owned(),
        }
    }
}

/// The command with the ids of this run in place of the page's.
fn with_real_ids(command: &str, told: &mut Ids, real: &Ids) -> String {
    let words = command.split(' ').map(|word| match Uuid::try_parse(word) {
        Ok(id) => {
            let real = real.0.get(told.number(id));
            let real = real.unwrap_or_else(|| panic!("{command}: nobody has shown {id} before"));
            real.to_string()
        }
        Err(_) => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_id_that_comes_again_must_be_the_same() {
    let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
    let mask = |text: String| Ids::default().masked(&text);
    assert_eq!(
        mask(format!("x {a} {b},{a}")),
        mask(format!("x  {b} {c},{b}\n"))
    );
    assert_ne!(mask(format!("{a} {b}")), mask(format!("{a} {a}")));
    assert_eq!(
        mask("at 2026-11-25T08:00:00Z\n\n".to_owned()),
        mask("at 2020-02-29T12:00:00.123456Z".to_owned())
    );
}
