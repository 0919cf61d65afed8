//! Where values come from: a file, the environment, flags.
//!
//! Each becomes layers for figment, which remembers for every value the layer
//! that it came from. A key that no table knows never gets into a layer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::table::{self, SECTIONS};

/// The origin of what nobody has set.
pub(super) const DEFAULT: &str = "default";

/// What environment variables of ours begin with.
const ENVIRONMENT_PREFIX: &str = "STOCKROOM_";

/// Names the file to read where no flag does: for a container, whoever runs something in it.
pub const FILE_VARIABLE: &str = "STOCKROOM_CONFIG";

/// What variables of this repository's tests begin with, which are none of the program's:
/// what is exported for a test run must not break a server that is started beside it.
const TEST_PREFIXES: [&str; 2] = ["STOCKROOM_TEST_", "STOCKROOM_CHAOS_"];

/// Likewise the variables of `make image`, which begin like a section and are none.
const IMAGE_VARIABLES: [&str; 2] = ["STOCKROOM_IMAGE", "STOCKROOM_IMAGE_BINARY"];

/// Where configuration comes from besides the defaults; later fields win.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `STOCKROOM_` are left alone.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags in the order given.
    pub flags: Vec<Flag>,
}

/// A value given on the command line.
#[derive(Debug)]
pub struct Flag {
    /// The flag, such as `--listen`.
    pub name: String,
    /// `section.key`.
    pub key: String,
    /// What it is set to.
    pub value: String,
}

/// Values with one origin.
#[derive(Debug)]
pub(super) struct Layer {
    origin: String,
    values: Dict,
}

impl Sources {
    /// The layers, weakest first. What cannot be read or is unknown is a problem
    /// and left out.
    pub(super) fn layers(&self, problems: &mut Vec<String>) -> Vec<Layer> {
        let mut layers = vec![Layer::defaults()];
        if let Some(path) = &self.file {
            match read_file(path) {
                Ok(file) => layers.push(known_of_file(path, file, problems)),
                Err(problem) => problems.push(problem),
            }
        }
        // Sorted, so that the same environment is always reported the same way.
        let environment: BTreeMap<_, _> = self.environment.iter().map(|(n, v)| (n, v)).collect();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else {
                continue;
            };
            let Some(value) = value.to_str() else {
                problems.push(format!("{name} is not UTF-8"));
                continue;
            };
            if !is_service_link(name, value) {
                layers.extend(Layer::one(name, &key_of_variable(name), value, problems));
            }
        }
        for Flag { name, key, value } in &self.flags {
            layers.extend(Layer::one(name, key, value, problems));
        }
        layers
    }
}

impl Layer {
    fn defaults() -> Self {
        let mut this = Self::empty(DEFAULT);
        for row in table::rows() {
            this.insert(row.section, row.name, row.kind.default_value());
        }
        this
    }

    pub(super) fn empty(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            values: Dict::new(),
        }
    }

    fn one(origin: &str, path: &str, text: &str, problems: &mut Vec<String>) -> Option<Self> {
        let Some(row) = table::row(path) else {
            problems.push(unknown(path, origin));
            return None;
        };
        let mut this = Self::empty(origin);
        this.insert(row.section, row.name, row.kind.parse(text));
        Some(this)
    }

    pub(super) fn insert(&mut self, section: &str, name: &str, value: Value) {
        let section = self.values.entry(section.to_owned());
        let section = section.or_insert_with(|| Value::from(Dict::new()));
        if let Value::Dict(_, keys) = section {
            keys.insert(name.to_owned(), value);
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Parsed here and not by figment, whose message would quote the line at fault
/// with the password that it may hold.
fn read_file(path: &Path) -> Result<toml::Table, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    toml::from_str(&text).map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        format!("{shown}, line {line}: {}", e.message())
    })
}

/// The values of a file whose keys are known.
fn known_of_file(path: &Path, file: toml::Table, problems: &mut Vec<String>) -> Layer {
    let mut layer = Layer::empty(path.display().to_string());
    for (section, keys) in file {
        let keys = match keys {
            toml::Value::Table(keys) if table::section_named(&section).is_some() => keys,
            _ => {
                problems.push(unknown(&section, &layer.origin));
                continue;
            }
        };
        for (name, value) in keys {
            match Value::serialize(value) {
                Ok(value) if table::row(&format!("{section}.{name}")).is_some() => {
                    layer.insert(&section, &name, value);
                }
                Ok(_) => problems.push(unknown(&format!("{section}.{name}"), &layer.origin)),
                Err(e) => problems.push(format!("{section}.{name}: {e} ({})", layer.origin)),
            }
        }
    }
    layer
}

/// Names the keys that there are, since most unknown ones are misspelt.
fn unknown(path: &str, origin: &str) -> String {
    let (section, key) = path.split_once('.').unwrap_or((path, ""));
    match table::section_named(section) {
        Some(section) => {
            let names: Vec<&str> = section.rows.iter().map(|row| row.name).collect();
            let what = if key.is_empty() {
                format!("{path} is a section, not a key")
            } else {
                format!("there is no key {path}")
            };
            format!(
                "{what}; {} has {} ({origin})",
                section.name,
                names.join(", ")
            )
        }
        None => {
            let names = SECTIONS.map(|section| section.name).join(", ");
            format!("there is no key {path}; the sections are {names} ({origin})")
        }
    }
}

fn is_ours(name: &str) -> bool {
    let is_of_tests = TEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    name.starts_with(ENVIRONMENT_PREFIX)
        && !is_of_tests
        && !IMAGE_VARIABLES.contains(&name)
        && name != FILE_VARIABLE
}

/// `STOCKROOM_ENGINE_BATCH_ORDERS_MAX` is `engine.batch_orders_max`.
fn key_of_variable(name: &str) -> String {
    let name = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name);
    name.to_ascii_lowercase().replacen('_', ".", 1)
}

/// Whether Kubernetes made the variable. For a service named `stockroom`, or
/// `stockroom-db`, it hands every pod `STOCKROOM_SERVICE_HOST`, `STOCKROOM_PORT=tcp://…`,
/// `STOCKROOM_DB_PORT_5432_TCP` and more, which must not keep a server from starting:
/// <https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
}
