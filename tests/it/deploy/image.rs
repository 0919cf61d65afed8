//! The container image, as far as `Dockerfile` says what it is.

use stockroom::config::FILE_VARIABLE;

use super::{configured, read};
use crate::process::{stdout, stockroom};

/// What the image is configured by.
pub(super) const CONFIGURATION: &str = "image/stockroom.toml";

/// Where it lies in the image, and where what is mounted takes its place.
pub(super) const MOUNTED: &str = "/etc/stockroom/stockroom.toml";

/// What follows each of the instructions of this name in the last stage.
fn instructions(name: &str) -> Vec<String> {
    let dockerfile = read("../Dockerfile").replace("\\\n", " ");
    let (_, stage) = dockerfile.split_once(" AS runtime\n").unwrap();
    let name = format!("{name} ");
    let lines = stage.lines().filter_map(|line| line.strip_prefix(&name));
    lines.map(str::to_owned).collect()
}

/// The words of a command that is written as a list.
fn words(instruction: &str) -> Vec<String> {
    let list = &instruction[instruction.find('[').unwrap()..];
    serde_json::from_str(list).unwrap()
}

fn the_one(name: &str) -> Vec<String> {
    let mut found = instructions(name);
    assert_eq!(found.len(), 1, "{name}");
    words(&found.remove(0))
}

/// What a container is asked for its health by.
pub(super) fn health_check() -> Vec<String> {
    the_one("HEALTHCHECK")
}

/// The variables that every container has.
pub(super) fn environment() -> Vec<(String, String)> {
    let set = instructions("ENV");
    let set = set.iter().flat_map(|line| line.split_whitespace());
    set.map(|it| it.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn whatever_runs_in_the_image_reads_the_file_that_can_be_mounted() {
    assert_eq!(the_one("ENTRYPOINT"), ["stockroom"]);
    assert_eq!(the_one("CMD"), ["serve"]);
    assert_eq!(health_check(), ["stockroom", "health"]);
    let variable = (FILE_VARIABLE.to_owned(), MOUNTED.to_owned());
    assert_eq!(environment(), [variable]);
    let copied = instructions("COPY");
    assert!(copied.iter().any(|it| it.ends_with(MOUNTED)), "{copied:?}");
}

#[test]
fn the_image_listens_on_the_ports_that_it_exposes() {
    let config = configured(Some(CONFIGURATION), &environment());
    let listens = [&*config.server.listen, config.http.address().unwrap()];
    let ports = listens.map(|address| address.strip_prefix("0.0.0.0:").unwrap());
    assert_eq!(instructions("EXPOSE"), [ports.join(" ")]);
}

#[test]
fn what_is_mounted_says_where_to_listen() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("stockroom.toml");
    let elsewhere = "[server]\nlisten = \"0.0.0.0:6001\"\n[http]\nlisten = \"off\"\n";
    std::fs::write(&mounted, elsewhere).unwrap();
    let config = configured(mounted.to_str(), &environment());
    assert_eq!(config.server.listen, "0.0.0.0:6001");
    assert_eq!(config.http.address(), None);
}

/// Cargo judges by the times of files, which are those of the checkout that the image is built of.
#[test]
fn no_binary_of_another_checkout_is_taken_from_the_cache() {
    let dockerfile = read("../Dockerfile").replace("\\\n", " ");
    let builds = dockerfile.lines().find(|line| line.contains("cargo build"));
    let (before, _) = builds.unwrap().split_once("cargo build").unwrap();
    let (_, touched) = before.split_once("find ").unwrap();
    let (touched, rest) = touched.split_once(" -type f").unwrap();
    assert!(rest.contains("touch"), "{rest}");
    // What the program is compiled of, and what it embeds.
    let touched: Vec<&str> = touched.split_whitespace().collect();
    assert_eq!(touched, ["build.rs", "src", "proto", "migrations", "data"]);
    let cache = before.split("--mount=").find(|it| it.contains("/target"));
    let options = cache.unwrap().split_whitespace().next().unwrap();
    assert!(options.ends_with(",sharing=locked"), "{options}");
}

/// As the pods of Kubernetes do, whose arguments follow those of the image.
#[test]
fn the_file_that_the_image_names_is_read_unless_another_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, port) in [("stockroom.toml", 6000), ("image", 6001), ("named", 6002)] {
        let text = format!("[server]\nlisten = \"0.0.0.0:{port}\"\n");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let printed = |arguments: &[&str]| {
        let mut config = stockroom(folder.path(), arguments);
        stdout(&config.env(FILE_VARIABLE, "image").output().unwrap())
    };
    let of_the_image = printed(&["config"]);
    assert!(of_the_image.contains("0.0.0.0:6001"), "{of_the_image}");
    let named = printed(&["config", "--config=named"]);
    assert!(named.contains("0.0.0.0:6002"), "{named}");
}
