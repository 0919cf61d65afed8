//! The protos keep the rules that the tools of the trade have for them (buf's
//! STANDARD and COMMENTS categories, <https://buf.build/docs/lint/rules/>), and the
//! rules can fail. Where buf itself is at hand, it is asked as well.

mod lint;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use stockroom::client::proto::FILE_DESCRIPTOR_SET;

use self::lint::lint;
use crate::fixture::not_run;

/// What the program was built with, without what it imports from others.
fn ours() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file
        .retain(|file| !file.name().starts_with("google/protobuf/"));
    set
}

#[test]
fn the_protos_keep_the_rules() {
    let found = lint(&ours().file);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_proto_file_is_compiled_and_described_by_reflection() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut there = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "proto")
            {
                let name = path.strip_prefix(&root).unwrap();
                there.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    let ours = ours();
    let compiled: BTreeSet<_> = ours.file.iter().map(|f| f.name().to_owned()).collect();
    assert!(compiled.len() >= 3, "{compiled:?}");
    assert_eq!(compiled, there);
}

/// Keeps every rule.
const GOOD: &str = r#"// A shop.
syntax = "proto3";

package planted.v1;

// Sells.
service SellingService {
  // Sells one thing.
  rpc SellThing(SellThingRequest) returns (SellThingResponse);
  // Sells two.
  rpc SellPair(SellPairRequest) returns (stream SellPairResponse);
}

// What to sell.
message SellThingRequest {
  // The first thing.
  string thing_1 = 1;
  // Why not.
  optional int64 price = 2;
  // Exactly one.
  oneof payment {
    // In coins.
    int64 coins = 3;
  }
  // By name.
  map<string, string> labels = 4;
  // Of one thing.
  message InnerPart {
    // The part.
    string part = 1;
  }
  // How good it is.
  enum PartState {
    // Never sent.
    PART_STATE_UNSPECIFIED = 0;
    // As new.
    PART_STATE_NEW = 1;
  }
}

// What was sold.
message SellThingResponse {}

// Two.
message SellPairRequest {}

// Of two.
message SellPairResponse {}
"#;

/// What to write instead of what, and the words of the finding that it must cause.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "message SellPairResponse {}",
        "message SellPairResponse {}\n// Odd.\nmessage odd_one {}",
        "message odd_one: is not PascalCase",
    ),
    (
        "thing_1 = 1",
        "thingOne = 1",
        "SellThingRequest.thingOne: is not snake_case",
    ),
    (
        "string part =",
        "string Part =",
        "SellThingRequest.InnerPart.Part: is not snake_case",
    ),
    (
        "oneof payment",
        "oneof Payment",
        "SellThingRequest.Payment: is not snake_case",
    ),
    (
        "    PART_STATE_NEW",
        "    NEW_PART",
        "NEW_PART: does not begin with PART_STATE_",
    ),
    (
        "    PART_STATE_NEW",
        "    PART_STATE_new",
        "PART_STATE_new: is not UPPER_SNAKE_CASE",
    ),
    (
        "PART_STATE_UNSPECIFIED",
        "PART_STATE_NONE",
        "PART_STATE_NONE: the value 0 is not PART_STATE_UNSPECIFIED",
    ),
    (
        "service SellingService",
        "service Selling",
        "service Selling: does not end in Service",
    ),
    (
        "rpc SellThing(",
        "rpc sellThing(",
        "sellThing: is not PascalCase",
    ),
    (
        "(SellPairRequest)",
        "(SellThingRequest)",
        "SellPair: takes SellThingRequest, not SellPairRequest",
    ),
    (
        "(SellPairRequest)",
        "(SellThingRequest)",
        "SellThingRequest: is used by more than one rpc",
    ),
    (
        "(stream SellPairResponse)",
        "(stream SellThingResponse)",
        "SellPair: answers SellThingResponse, not SellPairResponse",
    ),
    (
        "package planted.v1;",
        "package planted.v2;",
        "package planted.v2 does not belong in the folder planted/v1",
    ),
    (
        "package planted.v1;",
        "package planted;",
        "package planted has no version",
    ),
    ("// Sells.\n", "", "service SellingService: has no comment"),
    (
        "  // Sells two.\n",
        "",
        "rpc SellingService.SellPair: has no comment",
    ),
    ("// Two.\n", "", "message SellPairRequest: has no comment"),
    (
        "  // Why not.\n",
        "",
        "field SellThingRequest.price: has no comment",
    ),
    (
        "  // By name.\n",
        "",
        "field SellThingRequest.labels: has no comment",
    ),
    (
        "  // Exactly one.\n",
        "",
        "oneof SellThingRequest.payment: has no comment",
    ),
    (
        "    // In coins.\n",
        "",
        "field SellThingRequest.coins: has no comment",
    ),
    (
        "  // How good it is.\n",
        "",
        "enum SellThingRequest.PartState: has no comment",
    ),
    (
        "    // As new.\n",
        "",
        "enum value SellThingRequest.PartState.PART_STATE_NEW: has no comment",
    ),
    (
        "    // The part.\n",
        "    //\n",
        "field SellThingRequest.InnerPart.part: has no comment",
    ),
    ("// A shop.\n", "", "the file does not begin with a comment"),
];

fn findings(text: &str) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("planted/v1");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("shop.proto"), text).unwrap();
    let compiled = protox::compile(["planted/v1/shop.proto"], [root.path()]);
    lint(&compiled.unwrap_or_else(|e| panic!("{e:?}\n{text}")).file)
}

#[test]
fn each_rule_finds_what_breaks_it() {
    assert_eq!(findings(GOOD), [""; 0]);
    for (good, bad, expected) in PLANTED {
        assert_eq!(GOOD.matches(good).count(), 1, "{good:?} is there once");
        let found = findings(&GOOD.replace(good, bad));
        let seen = found.iter().any(|finding| finding.contains(expected));
        assert!(seen, "{good:?} → {bad:?}: no {expected:?} in {found:#?}");
    }
}

#[test]
fn buf_finds_what_breaks_a_rule_and_nothing_in_the_protos() {
    let Some(buf) = std::env::var_os("STOCKROOM_TEST_BUF") else {
        return not_run(
            "buf lint: STOCKROOM_TEST_BUF is not set; `make test` sets it where buf is",
        );
    };
    let cache = tempfile::tempdir().unwrap();
    let lint = |folder: &Path| {
        let mut command = Command::new(&buf);
        let command = command.arg("lint").current_dir(folder);
        let output = command.env("BUF_CACHE_DIR", cache.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    assert_eq!(lint(&ours), (true, String::new()));
    // By the same settings it does find something.
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("planted/v1");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(ours.join("buf.yaml"), root.path().join("buf.yaml")).unwrap();
    for (text, expected) in [
        (GOOD.to_owned(), None),
        (GOOD.replace("  // Why not.\n", ""), Some("\"price\"")),
        (
            GOOD.replace("thing_1 =", "thingOne ="),
            Some("\"thingOne\""),
        ),
    ] {
        fs::write(folder.join("shop.proto"), text).unwrap();
        let (is_good, said) = lint(root.path());
        assert_eq!(is_good, expected.is_none(), "{said}");
        assert!(said.contains(expected.unwrap_or_default()), "{said}");
    }
}
